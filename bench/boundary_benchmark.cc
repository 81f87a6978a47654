// The boundary's kernels on a GPU: time, bytes by counted units, and their share of the copy rate
// that this very run measures.
//   bash tests/gpu.sh bench, or build/cuda/bin/boundary_benchmark [tokens [kind [n [C]]]]
//
// A line is one call of the backend (of gains: all of a sub-layer's): all its kernels, the median of
// kRepeats.  A unit is one row of
// C bf16 numbers a token, moved once: a merge into a sub-layer takes 2n + 2 forward and 3n + 3
// backward (n x dX', X, dX; y, dnorm, dy), whatever a kernel moves in truth.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/base/rng.h"
#include "kernels/cuda/boundary_path.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/single_pass_launch.h"

namespace birkhoff {
namespace {

constexpr int kWarmUp = 3, kRepeats = 15;

void CudaOk(cudaError_t error) { BIRKHOFF_CHECK(error == cudaSuccess, cudaGetErrorString(error)); }
void Ok(const absl::Status& status) { BIRKHOFF_CHECK(status.ok(), status.ToString().c_str()); }

template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : count_(count) {
    CudaOk(cudaMalloc(reinterpret_cast<void**>(&data_),
                      size_t(std::max<int64_t>(count, 1)) * sizeof(T)));
    CudaOk(cudaMemset(data_, 0, size_t(count) * sizeof(T)));
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data() const { return data_; }
  int64_t size() const { return count_; }
  std::vector<T> Head(int64_t most) const {
    std::vector<T> values(size_t(std::min(most, count_)));
    CudaOk(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  const int64_t count_;
  T* data_ = nullptr;
};

// N(mean, scale^2): one stretch, drawn once, from another place for each seed; its length lines up
// with no row.
std::vector<float> Stretch(int seed, double scale, double mean) {
  static const std::vector<float> drawn = [] {
    Rng rng(1);
    std::vector<float> values((1 << 20) + 7);
    for (float& value : values) value = float(rng.Normal());
    return values;
  }();
  std::vector<float> values(drawn.size());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = float(mean + scale * drawn[(i + size_t(seed) * 65537) % drawn.size()]);
  }
  return values;
}
template <typename T>
void Upload(const std::vector<T>& stretch, const Buffer<T>& to) {
  for (int64_t at = 0; at < to.size(); at += int64_t(stretch.size())) {
    const int64_t count = std::min<int64_t>(int64_t(stretch.size()), to.size() - at);
    CudaOk(cudaMemcpy(to.data() + at, stretch.data(), size_t(count) * sizeof(T),
                      cudaMemcpyHostToDevice));
  }
}
void Draw(const Buffer<float>& to, int seed, double scale, double mean = 0.0) {
  Upload(Stretch(seed, scale, mean), to);
}
void Draw(const Buffer<bf16>& to, int seed) {
  std::vector<bf16> values;
  for (const float value : Stretch(seed, 1.0, 0.0)) values.push_back(ToBf16(value));
  Upload(values, to);
}

// Median time of a call, in microseconds.
double Median(const std::function<void()>& call) {
  cudaEvent_t begin, end;
  CudaOk(cudaEventCreate(&begin));
  CudaOk(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < kWarmUp + kRepeats; ++i) {
    CudaOk(cudaEventRecord(begin, nullptr));
    call();
    CudaOk(cudaEventRecord(end, nullptr));
    CudaOk(cudaEventSynchronize(end));
    float milliseconds = 0.0f;
    CudaOk(cudaEventElapsedTime(&milliseconds, begin, end));
    if (i >= kWarmUp) times.push_back(milliseconds);
  }
  CudaOk(cudaEventDestroy(begin));
  CudaOk(cudaEventDestroy(end));
  std::sort(times.begin(), times.end());
  return 1e3 * double(times[times.size() / 2]);
}

// Bytes a second, read and written, of copying 2 GiB.
double CopyRate() {
  constexpr int64_t kBytes = int64_t{1} << 31;
  const Buffer<float> from(kBytes / 4), to(kBytes / 4);
  Draw(from, 1, 1.0);
  const double microseconds = Median([&] {
    CudaOk(
        cudaMemcpyAsync(to.data(), from.data(), size_t(kBytes), cudaMemcpyDeviceToDevice, nullptr));
  });
  return 2e6 * double(kBytes) / microseconds;
}

struct Problem {
  const char* name = "";
  BoundaryShape shape = {};
};

// The tensors of a merge into a sub-layer, forward and backward.
struct Tensors {
  explicit Tensors(const BoundaryShape& shape)
      : rows(shape.tokens * shape.streams * shape.channels),
        x_below(rows),
        x(rows),
        above(rows),
        dx(rows),
        y(shape.tokens * shape.channels),
        dnorm(y.size()),
        norm_out(y.size()),
        dy(y.size()),
        coefficients_below(shape.tokens * CoefficientsPerToken(shape)),
        coefficients(coefficients_below.size()),
        logits(shape.tokens * LogitsPerToken(shape)),
        inverse(shape.tokens),
        prefix(shape.tokens * shape.streams * shape.streams),
        suffix(prefix.size()),
        projection(ProjectionElements(shape)),
        alpha(3),
        bias(BiasElements(shape)),
        gamma(shape.channels),
        dprojection(projection.size()),
        dalpha(3),
        dbias(bias.size()),
        dgamma(gamma.size()),
        workspace(cuda::BoundaryWorkspaceBytes(shape)) {
    Draw(x_below, 2), Draw(above, 3), Draw(y, 4), Draw(dnorm, 5);
    Draw(coefficients_below, 6, 0.1, 0.3), Draw(prefix, 7, 1.0), Draw(suffix, 8, 1.0);
    Draw(projection, 9, 1.0 / std::sqrt(double(shape.streams * shape.channels)));
    Draw(alpha, 10, 0.1, 1.0), Draw(bias, 11, 1.0), Draw(gamma, 12, 0.1, 1.0);
  }
  BoundarySourceArgs<bf16> Merge() const {
    BoundarySourceArgs<bf16> source;
    source.kind = BoundarySource::kMerge;
    source.x = x_below.data();
    source.y = y.data();
    source.coefficients = coefficients_below.data();
    return source;
  }
  BoundaryForwardArgs<bf16> Forward(const BoundaryShape& shape) const {
    BoundaryForwardArgs<bf16> args;
    args.shape = shape;
    args.source = Merge();
    args.x = x.data();
    args.prefix_below = args.prefix = prefix.data();
    args.parameters = {projection.data(), alpha.data(), bias.data(), gamma.data()};
    args.coefficients = coefficients.data();
    args.logits = logits.data();
    args.norm_out = norm_out.data();
    args.norm_inv_rms = inverse.data();
    return args;
  }
  BoundaryRecomputeArgs<bf16> Recompute(const BoundaryShape& shape) const {
    BoundaryRecomputeArgs<bf16> args;
    args.shape = shape;
    args.source = Merge();
    args.x = x.data();
    args.gamma = gamma.data();
    args.coefficients = coefficients.data();
    args.norm_inv_rms = inverse.data();
    args.norm_out = norm_out.data();
    return args;
  }
  BoundaryBackwardArgs<bf16> Backward(const BoundaryShape& shape) const {
    BoundaryBackwardArgs<bf16> args;
    args.shape = shape;
    args.dx_above = above.data();
    args.x = x.data();
    args.y = y.data();
    args.dnorm = dnorm.data();
    args.norm_inv_rms = inverse.data();
    args.coefficients = coefficients.data();
    args.logits = logits.data();
    args.parameters = {projection.data(), alpha.data(), bias.data(), gamma.data()};
    args.gradients = {dprojection.data(), dalpha.data(), dbias.data(), dgamma.data()};
    args.suffix_above = args.suffix = suffix.data();
    args.dx = dx.data();
    args.source = BoundarySource::kMerge;
    args.coefficients_below = coefficients_below.data();
    args.dy_below = dy.data();
    args.workspace = workspace.data();
    return args;
  }

  const int64_t rows;
  Buffer<bf16> x_below, x, above, dx, y, dnorm, norm_out, dy;
  Buffer<float> coefficients_below, coefficients, logits, inverse, prefix, suffix;
  Buffer<float> projection, alpha, bias, gamma, dprojection, dalpha, dbias, dgamma;
  Buffer<char> workspace;
};

// Clusters, registers and spilled bytes of a single pass.
std::string Residence(const BoundaryShape& shape, cuda::BoundaryPass pass,
                      const cuda::BoundaryConfig& config) {
  if (!config.single_pass) return cuda::ToString(config);
  const auto residence = pass == cuda::BoundaryPass::kForward
                             ? cuda::ForwardResidence(config, /*merge=*/true)
                             : cuda::BackwardResidence(config, shape);
  Ok(residence.status());
  char text[160];
  std::snprintf(text, sizeof(text), "%d clusters of %d, %d registers, %d bytes spilled, %d KB",
                residence->clusters, config.geometry.cluster, residence->registers,
                residence->local_bytes, config.shared_bytes / 1024);
  return text;
}

// The largest difference over the largest number.
double Difference(const std::vector<bf16>& a, const std::vector<bf16>& b) {
  double worst = 0.0, largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double(ToFloat(a[i])) - double(ToFloat(b[i])));
    if (!(difference <= worst)) worst = difference;
    largest = std::max(largest, std::abs(double(ToFloat(a[i]))));
  }
  return worst / largest;
}

class Table {
 public:
  explicit Table(double copy_rate) : copy_rate_(copy_rate) {
    std::printf("%-10s %2s %5s %-9s %-11s %9s %8s %8s %7s  %s\n", "kind", "n", "C", "pass", "path",
                "us", "units", "TB/s", "share", "kernel");
  }

  void Run(const Problem& problem) {
    const Tensors tensors(problem.shape);
    std::vector<bf16> x[2], dx[2];
    constexpr int64_t kCompared = 1 << 22;
    for (int single = 0; single < 2; ++single) {
      const auto path =
          single != 0 ? cuda::BoundaryPath::kSinglePass : cuda::BoundaryPath::kStreaming;
      const auto forward = tensors.Forward(problem.shape);
      Line(problem, cuda::BoundaryPass::kForward, path,
           [&] { Ok(cuda::BoundaryForward(forward, nullptr, path)); });
      if (single == 0) {
        const auto recompute = tensors.Recompute(problem.shape);
        Line(problem, cuda::BoundaryPass::kRecompute, path,
             [&] { Ok(cuda::BoundaryRecompute(recompute, nullptr)); });
      }
      const auto backward = tensors.Backward(problem.shape);
      Line(problem, cuda::BoundaryPass::kBackward, path,
           [&] { Ok(cuda::BoundaryBackward(backward, nullptr, path)); });
      x[single] = tensors.x.Head(kCompared), dx[single] = tensors.dx.Head(kCompared);
    }
    std::printf("%-10s %2d %5lld differences of the paths: x %.3g, dx %.3g of the largest\n",
                problem.name, problem.shape.streams, (long long)problem.shape.channels,
                Difference(x[0], x[1]), Difference(dx[0], dx[1]));
    if (problem.shape.streams > 1) Gains(problem, tensors);
  }

 private:
  // What a sub-layer adds to the gains: of its own matrices, of P and of S, and of its mixing.
  void Gains(const Problem& problem, const Tensors& tensors) const {
    const BoundaryShape& shape = problem.shape;
    const int64_t n = shape.streams;
    const Buffer<GainSums> sums(3);
    const Buffer<double> matrices(2 * n * n);
    const Buffer<CoefficientMeasures> opened(1);
    const Buffer<StreamMeasures> merged(1);
    const Buffer<char> workspace(std::max(cuda::GainWorkspaceBytes(shape.streams, shape.tokens),
                                          cuda::MixingWorkspaceBytes()));
    const auto gain = [&](int of, const float* of_tokens, int64_t stride, double* matrix) {
      Ok(cuda::AccumulateGain<bf16>({.streams = shape.streams,
                                     .tokens = shape.tokens,
                                     .matrices = of_tokens,
                                     .stride = stride,
                                     .sums = sums.data() + of,
                                     .matrix = matrix,
                                     .workspace = workspace.data()},
                                    nullptr));
    };
    const double microseconds = Median([&] {
      gain(0, tensors.coefficients.data() + 2 * n, 2 * n + n * n, nullptr);
      gain(1, tensors.prefix.data(), n * n, matrices.data());
      gain(2, tensors.suffix.data(), n * n, matrices.data() + n * n);
      Ok(cuda::AccumulateMixing<bf16>({.shape = shape,
                                       .coefficients = tensors.coefficients.data(),
                                       .logits = tensors.logits.data(),
                                       .alpha = tensors.alpha.data(),
                                       .bias = tensors.bias.data(),
                                       .prefix = tensors.prefix.data(),
                                       .x = tensors.x.data(),
                                       .opened = opened.data(),
                                       .merged = merged.data(),
                                       .workspace = workspace.data()},
                                      nullptr));
    });
    std::printf("%-10s %2d %5lld gains of a sub-layer %.1f us\n", problem.name, shape.streams,
                (long long)shape.channels, microseconds);
  }

  void Line(const Problem& problem, cuda::BoundaryPass pass, cuda::BoundaryPath path,
            const std::function<void()>& call) const {
    const BoundaryShape& shape = problem.shape;
    const bool backward = pass == cuda::BoundaryPass::kBackward;
    // A plain residual's dX is read as its dy; nothing else of y is.
    const bool plain = shape.kind == BoundaryKind::kResidual;
    const int units = backward ? (plain ? 5 : 3 * shape.streams + 3) : 2 * shape.streams + 2;
    const double microseconds = Median(call);
    const double bytes = 2.0 * units * double(shape.channels) * double(shape.tokens);
    const double rate = 1e6 * bytes / microseconds;
    const auto config = cuda::ConfigOf({.pass = pass, .shape = shape}, path, /*most_partials=*/64);
    const char* const name = backward                                 ? "backward"
                             : pass == cuda::BoundaryPass::kRecompute ? "recompute"
                                                                      : "forward";
    std::printf("%-10s %2d %5lld %-9s %-11s %9.1f %8d %8.3f %6.1f%%  %s\n", problem.name,
                shape.streams, (long long)shape.channels, name,
                path == cuda::BoundaryPath::kSinglePass ? "single pass" : "streaming", microseconds,
                units, 1e-12 * rate, 100.0 * rate / copy_rate_,
                Residence(shape, pass, config).c_str());
    std::fflush(stdout);
  }

  const double copy_rate_;
};

std::vector<Problem> Problems(int64_t tokens) {
  std::vector<Problem> problems;
  for (const int64_t channels : {2560, 2048}) {
    for (const int streams : {4, 3, 2, 8}) {
      problems.push_back({"mhc", {.streams = streams, .tokens = tokens, .channels = channels}});
    }
    problems.push_back({"identity",
                        {.mapping = MappingKind::kIdentity,
                         .streams = 4,
                         .tokens = tokens,
                         .channels = channels}});
    problems.push_back({"hc", {.kind = BoundaryKind::kHc, .tokens = tokens, .channels = channels}});
    problems.push_back(
        {"residual",
         {.kind = BoundaryKind::kResidual, .streams = 1, .tokens = tokens, .channels = channels}});
  }
  for (const int64_t channels : {512, 768, 1024, 1600, 4096, 8192}) {
    problems.push_back({"mhc", {.tokens = tokens, .channels = channels}});
  }
  return problems;
}

struct Wanted {
  int64_t tokens = 16384;
  std::string kind;      // empty: all
  int streams = 0;       // 0: all
  int64_t channels = 0;  // 0: all
};

int Run(const Wanted& wanted) {
  const int64_t tokens = wanted.tokens;
  cudaDeviceProp card;
  CudaOk(cudaGetDeviceProperties(&card, 0));
  const double copy_rate = CopyRate();
  std::printf("%s, %d multiprocessors; copy %.3f TB/s; %lld tokens, bf16 streams\n", card.name,
              card.multiProcessorCount, 1e-12 * copy_rate, (long long)tokens);
  Table table(copy_rate);
  for (const Problem& problem : Problems(tokens)) {
    if (!wanted.kind.empty() && wanted.kind != problem.name) continue;
    if (wanted.streams != 0 && wanted.streams != problem.shape.streams) continue;
    if (wanted.channels != 0 && wanted.channels != problem.shape.channels) continue;
    table.Run(problem);
  }
  return 0;
}

}  // namespace
}  // namespace birkhoff

int main(int argc, char** argv) {
  birkhoff::Wanted wanted;
  if (argc > 1) wanted.tokens = std::atoll(argv[1]);
  if (argc > 2) wanted.kind = argv[2];
  if (argc > 3) wanted.streams = std::atoi(argv[3]);
  if (argc > 4) wanted.channels = std::atoll(argv[4]);
  return birkhoff::Run(wanted);
}
