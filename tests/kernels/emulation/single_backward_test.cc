// The single-pass backward kernel, run on the CPU, against the reference in double.
#include "tests/kernels/emulation/gpu.h"
// The emulation comes first.
#include <gtest/gtest.h>

#include "kernels/boundary.h"
#include "kernels/cuda/device/single_backward.cuh"
#include "kernels/cuda/device/sinkhorn_basis.cuh"
#include "tests/kernels/emulation/boundary_inputs.h"

namespace birkhoff {
namespace {

using emulation::BoundaryProblem;
using emulation::Doubles;

template <int N>
std::vector<float> Basis(const BoundaryShape& shape, const BoundaryWeights<float>& weights,
                         const std::vector<float>& logits) {
  std::vector<float> basis(size_t(shape.tokens * (N - 1) * N * N));
  std::vector<float> history(size_t(shape.sinkhorn_iterations * N));
  const int64_t stride = LogitsPerToken(shape);
  for (int64_t t = 0; t < shape.tokens; ++t) {
    for (int k = 0; k < N - 1; ++k) {
      cuda::BasisMatrix<N>(
          [&](int e) {
            return std::fma(weights.alpha[2], logits[size_t(t * stride + 2 * N + e)],
                            weights.bias[size_t(2 * N + e)]);
          },
          shape.sinkhorn_iterations, k, {1, history.data()},
          basis.data() + (t * (N - 1) + k) * N * N);
    }
  }
  return basis;
}

struct Gradients {
  std::vector<bf16> dx, dy_below;
  std::vector<float> projection, gamma, alpha_bias, suffix;  // partials added up
};

std::vector<float> AddRows(const std::vector<float>& rows, int64_t count) {
  std::vector<float> sums(rows.size() / size_t(count));
  for (size_t i = 0; i < rows.size(); ++i) sums[i % sums.size()] += rows[i];
  return sums;
}

struct Saved {
  std::vector<float> coefficients, logits, norm_inv_rms, basis;
};

template <int N, int kTiles, bool kSinkhorn, int kBoxes>
Gradients Run(const BoundaryProblem& p, const Saved& saved, int cluster, bool late_copies,
              bool equal_streams, int clusters) {
  const BoundaryShape& shape = p.shape;
  const cuda::SinglePassGeometry geometry = {cluster, cuda::kBackwardWarps, cuda::kBackwardStages,
                                             kBoxes};
  const auto map_of = [&](const bf16* first, int streams) {
    return cuda::EmulatedMap({first, shape.tokens, streams, int(shape.channels)});
  };
  const float nan = std::nanf("");
  Gradients out;
  out.dx.resize(p.x.size());
  out.dy_below.resize(p.y.size());
  out.suffix.resize(p.matrices.size());
  std::vector<float> projection(size_t(clusters * ProjectionElements(shape)), nan);
  std::vector<float> gamma(size_t(clusters * shape.channels), nan);
  std::vector<float> sums(size_t(clusters * geometry.cluster * (3 + BiasElements(shape))), nan);
  cuda::SingleBackwardArgs args;
  args.tokens = shape.tokens;
  args.channels = int(shape.channels);
  args.columns = int(BiasElements(shape));
  args.geometry = geometry;
  args.dx_above = map_of(p.above.data(), N);
  args.x = map_of(p.x.data(), N);
  args.dx = map_of(out.dx.data(), N);
  args.y = map_of(p.y.data(), 1);
  args.dnorm = map_of(p.dnorm.data(), 1);
  args.dy_below = map_of(out.dy_below.data(), 1);
  args.norm_inv_rms = saved.norm_inv_rms.data();
  args.coefficients = saved.coefficients.data();
  args.logits = saved.logits.data();
  args.basis = saved.basis.data();
  args.equal_streams = equal_streams;
  args.projection = p.weights.projection.data();
  args.alpha = p.weights.alpha.data();
  args.bias = p.weights.bias.data();
  args.gamma = p.weights.gamma.data();
  args.suffix_above = p.matrices.data();
  args.suffix = out.suffix.data();
  args.coefficients_below = p.coefficients_below.data();
  args.projection_partials = projection.data();
  args.gamma_partials = gamma.data();
  args.sums = sums.data();
  const cuda::BackwardSizes sizes(geometry, {N, kTiles, false});
  emulation::Launch({clusters * geometry.cluster, geometry.cluster,
                     (cuda::kBackwardWarps + cuda::kBackwardServiceWarps) * 32, sizes.total},
                    late_copies, [&](unsigned char* shared) {
                      cuda::SingleBackward<N, kTiles, kSinkhorn, kBoxes>(args, shared).Run();
                    });
  out.projection = AddRows(projection, clusters);
  out.gamma = AddRows(gamma, clusters);
  out.alpha_bias = AddRows(sums, clusters * geometry.cluster);
  return out;
}

// To a part of the largest entry, and one rounding to bf16, as the tests on a GPU.
void ExpectBar(const std::string& what, const std::vector<float>& got,
               const std::vector<double>& want, double rounding, double bar = 1e-4) {
  ASSERT_EQ(got.size(), want.size()) << what;
  const double largest = LargestAbs(want);
  double worst = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    double error = std::abs(double(got[i]) - want[i]) - rounding * std::abs(want[i]);
    if (error < 0.0) error = 0.0;
    if (!(error <= worst * largest)) worst = error / largest;
  }
  EXPECT_LE(worst, bar) << what;
}

template <int N, int kTiles, bool kSinkhorn, int kBoxes = cuda::kFewestBoxes>
void Check(int64_t tokens, int64_t channels, int cluster, double scale = 1.0,
           bool equal_streams = false, int clusters = 2) {
  BoundaryProblem p(BoundaryKind::kMhc, kSinkhorn ? MappingKind::kSinkhorn : MappingKind::kIdentity,
                    N, tokens, channels, 1.0);
  p.weights = BoundaryWeights<float>(p.shape, 1, scale);
  SCOPED_TRACE(testing::Message() << "n " << N << " tokens " << tokens << " C " << channels
                                  << " cluster " << cluster << " clusters " << clusters);
  const emulation::ForwardReference forward = p.Forward(false);
  Saved saved;
  saved.coefficients = {forward.coefficients.begin(), forward.coefficients.end()};
  saved.logits = {forward.logits.begin(), forward.logits.end()};
  saved.norm_inv_rms = {forward.norm_inv_rms.begin(), forward.norm_inv_rms.end()};
  if (kSinkhorn) saved.basis = Basis<N>(p.shape, p.weights, saved.logits);
  const Gradients out =
      Run<N, kTiles, kSinkhorn, kBoxes>(p, saved, cluster, true, equal_streams, clusters);
  const Gradients early =
      Run<N, kTiles, kSinkhorn, kBoxes>(p, saved, cluster, false, equal_streams, clusters);
  EXPECT_TRUE(emulation::SameBits(out.dx, early.dx));
  EXPECT_TRUE(emulation::SameBits(out.projection, early.projection));

  const BoundaryWeights<double> weights = Doubles(p.weights);
  BoundaryWeights<double> gradients = weights.Zeros();
  const std::vector<double> above = Doubles(p.above), x = Doubles(p.x), y = Doubles(p.y),
                            dnorm = Doubles(p.dnorm), coefficients = Doubles(saved.coefficients),
                            logits = Doubles(saved.logits), inverse = Doubles(saved.norm_inv_rms);
  std::vector<double> dx(x.size()), workspace(size_t(cpu::BoundaryWorkspaceElements(p.shape)));
  BoundaryBackwardArgs<double> args;
  args.shape = p.shape;
  args.dx_above = above.data();
  args.x = x.data();
  args.y = y.data();
  args.dnorm = dnorm.data();
  args.norm_inv_rms = inverse.data();
  args.coefficients = coefficients.data();
  args.logits = logits.data();
  args.equal_streams = equal_streams;
  args.parameters = weights.view();
  args.gradients = gradients.gradient_view();
  args.dx = dx.data();
  args.workspace = workspace.data();
  ASSERT_OK(cpu::BoundaryBackward(args));
  ExpectBar("dx", Widen(out.dx), dx, 0x1p-8, /*bar=*/3e-4);  // phi has 11 bits
  ExpectBar("dprojection", out.projection, gradients.projection, 0.0);
  ExpectBar("dgamma", out.gamma, gradients.gamma, 0.0);
  const std::vector<float> alpha(out.alpha_bias.begin(), out.alpha_bias.begin() + 3);
  const std::vector<float> bias(out.alpha_bias.begin() + 3, out.alpha_bias.end());
  ExpectBar("dalpha", alpha, gradients.alpha, 0.0);
  ExpectBar("dbias", bias, gradients.bias, 0.0);

  std::vector<double> dy(p.y.size()), suffix(p.matrices.size());
  for (int64_t i = 0; i < tokens * N * channels; ++i) {
    const int64_t t = i / (N * channels), j = i / channels % N;
    const int64_t at = t * (2 * N + N * N);
    dy[size_t(t * channels + i % channels)] +=
        double(p.coefficients_below[size_t(at + N + j)]) * double(ToFloat(out.dx[size_t(i)]));
  }
  for (int64_t i = 0; i < tokens * N * N * N; ++i) {
    const int64_t t = i / (N * N * N), row = i / (N * N) % N, column = i / N % N, m = i % N;
    suffix[size_t((t * N + row) * N + column)] +=
        double(p.matrices[size_t((t * N + row) * N + m)]) *
        coefficients[size_t(t * (2 * N + N * N) + 2 * N + m * N + column)];
  }
  ExpectBar("dy_below", Widen(out.dy_below), dy, 0x1p-8);
  ExpectBar("suffix", out.suffix, suffix, 0.0);
}

TEST(SingleBackward, MatchesTheReferenceAtFourStreams) {
  Check<4, 3, true>(21, 384, 2, 1.0, false, 1);
  Check<4, 3, true>(44, 192, 1, 1.0, false, 1);
  Check<4, 3, true, 4>(40, 256, 1, 1.0, false, 3);
}

TEST(SingleBackward, MatchesTheReferenceAtTheShapeThatPaysMost) {
  Check<4, 3, true, 5>(37, 2560, 8, 1.0, false, 1);
}

TEST(SingleBackward, TakesFewTokensAndMasksChannelsThatAreNotThere) {
  Check<4, 3, true>(1, 8, 1, 1.0, false, 1);
  Check<4, 3, true>(5, 88, 4);
  Check<4, 3, true, 5>(20, 600, 2);
  Check<4, 3, true>(21, 136, 16, 1.0, false, 1);
}

TEST(SingleBackward, MatchesTheReferenceAtOtherStreams) {
  Check<2, 1, true>(19, 200, 2);
  Check<3, 2, true>(19, 192, 1);
  Check<3, 2, true, 4>(9, 512, 2);
}

TEST(SingleBackward, MatchesTheReferenceWithoutMixing) {
  Check<4, 1, false>(19, 200, 2);
  Check<3, 1, false>(19, 64, 1);
}

TEST(SingleBackward, WritesNoGradientThroughEqualStreams) {
  Check<4, 3, true>(19, 64, 2, 1.0, true);
}

TEST(SingleBackward, TakesLargeLogits) { Check<4, 3, true>(19, 64, 2, 4.0); }

// The basis against the reference's gradient, from logits of every size.
TEST(SinkhornBasis, GivesTheGradientOfTheMapping) {
  constexpr int N = 4, kTokens = 50;
  for (const double scale : {0.1, 1.0, 4.0, 30.0, 300.0}) {
    const std::vector<float> logits = Normal<float>(kTokens * N * N, 3, scale);
    const std::vector<double> wide(logits.begin(), logits.end());
    const std::vector<double> dmatrix = Normal<double>(kTokens * N * N, 4);
    std::vector<double> matrix(wide.size()), want(wide.size());
    const MixShape mix = {MappingKind::kSinkhorn, N, 20};
    std::vector<double> workspace(size_t(MixWorkspaceElements(mix)));
    ASSERT_OK(cpu::MixForward<double>({mix, kTokens, wide.data(), N * N, matrix.data(), N * N}));
    ASSERT_OK(cpu::MixBackward<double>(
        {mix, kTokens, wide.data(), N * N, dmatrix.data(), N * N, want.data(), workspace.data()}));
    std::vector<float> history(20 * N);
    std::vector<double> got(wide.size());
    for (int t = 0; t < kTokens; ++t) {
      double left[N] = {};
      double* out = got.data() + t * N * N;
      for (int i = 0; i < N; ++i) {
        double mean = 0.0;
        for (int j = 0; j < N; ++j) {
          mean += matrix[size_t(t * N * N + i * N + j)] * dmatrix[size_t(t * N * N + i * N + j)];
        }
        for (int j = 0; j < N; ++j) {
          const size_t at = size_t(t * N * N + i * N + j);
          out[i * N + j] = matrix[at] * (dmatrix[at] - mean);
          left[j] += out[i * N + j];
        }
      }
      for (int k = 0; k < N - 1; ++k) {
        float basis[N * N];
        cuda::BasisMatrix<N>([&](int e) { return logits[size_t(t * N * N + e)]; }, 20, k,
                             {1, history.data()}, basis);
        for (int e = 0; e < N * N; ++e) out[e] += left[k] * double(basis[e]);
      }
    }
    EXPECT_LE(RelativeError(got, want), 1e-5) << "logits of size " << scale;
  }
}

}  // namespace
}  // namespace birkhoff
