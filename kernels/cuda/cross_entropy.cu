// Softmax cross entropy on the GPU: the losses of rows with their gradient, then the sum of losses.
#include <algorithm>
#include <cfloat>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/device/group.cuh"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

// Two blocks of 1024 threads fill a multiprocessor with as few rows as can be, so that the second
// read of a row finds much of it in the L2 cache: 264 rows of 32768 logits are 34 MB.
constexpr int kWide = 1024, kNarrow = 128;
constexpr int64_t kWideFrom = 4096;    // logits of a row
constexpr int64_t kMaxRows = 1 << 30;  // beyond it a block takes several rows
constexpr int kSumThreads = 1024;

// exp(x - largest) summed over some logits, the largest of them seen so far.
struct SoftmaxSum {
  // From any finite number down: -inf - largest is then -inf, and not NaN.
  float largest = -FLT_MAX;
  double sum = 0.0;

  __device__ void Rise(float to) {
    sum *= double(expf(largest - to));
    largest = to;
  }
  // Terms are added among themselves in float, and in double to the rest.  A NaN makes `sum` NaN.
  template <int K>
  __device__ void Add(const float (&logits)[K]) {
    float top = logits[0];
    for (int k = 1; k < K; ++k) top = fmaxf(top, logits[k]);
    if (top > largest) Rise(top);
    float terms = 0.0f;
    for (int k = 0; k < K; ++k) terms += expf(logits[k] - largest);
    sum += double(terms);
  }
};

// A row as the block's threads walk it, K logits in a sweep: neighbours, moved 16 bytes at a time,
// where rows are aligned (kPacked), else kThreads apart, so that a warp's addresses are neighbours.
template <int kThreads, int K, bool kPacked>
struct Walk {
  int64_t vocabulary;

  __device__ int64_t NumSweeps() const { return (vocabulary + kThreads * K - 1) / (kThreads * K); }
  __device__ int64_t Index(int64_t sweep, int k) const {
    const int64_t first = sweep * kThreads * K;
    return kPacked ? first + threadIdx.x * K + k : first + k * kThreads + threadIdx.x;
  }
  // -inf beyond the row: such a term is 0.
  __device__ void Read(const float* row, int64_t sweep, float (&logits)[K]) const {
    if constexpr (kPacked) {
      const bool inside = Index(sweep, 0) < vocabulary;
      for (int part = 0; part < K; part += 4) {
        Group<float, 4> four = {{-INFINITY, -INFINITY, -INFINITY, -INFINITY}};
        if (inside) four = GroupAt<4>(row, Index(sweep, part));
        for (int k = 0; k < 4; ++k) logits[part + k] = four.at[k];
      }
    } else {
      for (int k = 0; k < K; ++k) {
        const int64_t v = Index(sweep, k);
        logits[k] = v < vocabulary ? row[v] : -INFINITY;
      }
    }
  }
  template <typename T>
  __device__ void Write(T* row, int64_t sweep, const float (&values)[K]) const {
    if constexpr (kPacked) {
      if (Index(sweep, 0) >= vocabulary) return;
      Group<T, K> out;
      for (int k = 0; k < K; ++k) out.at[k] = Store<T>(values[k]);
      GroupAt<K>(row, Index(sweep, 0)) = out;
    } else {
      for (int k = 0; k < K; ++k) {
        const int64_t v = Index(sweep, k);
        if (v < vocabulary) row[v] = Store<T>(values[k]);
      }
    }
  }
};

// A block owns one row; writes its loss to row_loss, and its gradient where one is wanted.  grid:
// rows; block: kThreads; shared: 384 bytes at most; reads the logits twice (once without a
// gradient), writes dlogits once.  A thread writes only where it has read, and the target's logit
// is read before the barriers, so dlogits may be logits.
template <typename T, int kThreads, bool kPacked>
__global__ __launch_bounds__(kThreads,
                             2048 / kThreads) void CrossEntropyRowsKernel(CrossEntropyArgs<T> args,
                                                                          double* row_loss) {
  constexpr int K = Pack<T>::kSize;
  __shared__ float tops[kThreads / kWarpSize];
  __shared__ double sums[kThreads / kWarpSize];
  const Walk<kThreads, K, kPacked> walk = {args.vocabulary};
  const int64_t sweeps = walk.NumSweeps();
  for (int64_t t = blockIdx.x; t < args.tokens; t += gridDim.x) {
    const float* const logits = args.logits + t * args.vocabulary;
    T* const dlogits = args.dlogits == nullptr ? nullptr : args.dlogits + t * args.vocabulary;
    const int32_t target = args.targets[t];
    float values[K];
    if (target < 0) {
      if (threadIdx.x == 0) row_loss[t] = 0.0;
      for (int k = 0; k < K; ++k) values[k] = 0.0f;
      for (int64_t s = 0; dlogits != nullptr && s < sweeps; ++s) walk.Write(dlogits, s, values);
      continue;
    }

    // Sweep 1: the largest logit and the sum of exponentials.
    const double target_logit = double(logits[target]);
    SoftmaxSum softmax;
    for (int64_t s = 0; s < sweeps; ++s) {
      walk.Read(logits, s, values);
      softmax.Add(values);
    }
    softmax.Rise(BlockReduce<kThreads>(softmax.largest, tops, Max()));
    const double sum = BlockReduce<kThreads>(softmax.sum, sums, Sum());
    const float largest = softmax.largest;
    if (threadIdx.x == 0) row_loss[t] = log(sum) - (target_logit - double(largest));
    if (dlogits == nullptr) continue;

    // Sweep 2: the gradient.
    const float factor = float(args.scale / sum), scale = float(args.scale);
    for (int64_t s = 0; s < sweeps; ++s) {
      walk.Read(logits, s, values);
      for (int k = 0; k < K; ++k) {
        const float one_hot = walk.Index(s, k) == target ? scale : 0.0f;
        values[k] = expf(values[k] - largest) * factor - one_hot;
      }
      walk.Write(dlogits, s, values);
    }
  }
}

// One block adds the losses of all rows.  grid: 1; block: kSumThreads; shared: 256 bytes.
__global__ __launch_bounds__(kSumThreads) void AddLossesKernel(const double* row_loss,
                                                               const int32_t* targets,
                                                               int64_t tokens,
                                                               CrossEntropySums* sums) {
  __shared__ double scratch[kSumThreads / kWarpSize];
  CrossEntropySums mine;
  for (int64_t t = threadIdx.x; t < tokens; t += kSumThreads) {
    mine.loss += row_loss[t];
    mine.targets += targets[t] < 0 ? 0.0 : 1.0;
  }
  mine.loss = BlockReduce<kSumThreads>(mine.loss, scratch, Sum());
  mine.targets = BlockReduce<kSumThreads>(mine.targets, scratch, Sum());
  if (threadIdx.x != 0) return;
  sums->loss += mine.loss;
  sums->targets += mine.targets;
}

template <typename T, int kThreads>
void LaunchRows(const CrossEntropyArgs<T>& args, double* row_loss, StreamHandle stream) {
  const unsigned grid = unsigned(std::min(args.tokens, kMaxRows));
  if (args.vocabulary % Pack<T>::kSize == 0 && IsAligned(args.logits) && IsAligned(args.dlogits)) {
    CrossEntropyRowsKernel<T, kThreads, true><<<grid, kThreads, 0, stream>>>(args, row_loss);
  } else {
    CrossEntropyRowsKernel<T, kThreads, false><<<grid, kThreads, 0, stream>>>(args, row_loss);
  }
}

}  // namespace

int64_t CrossEntropyWorkspaceBytes(int64_t tokens, int64_t) {
  return tokens * int64_t{sizeof(double)};
}

template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers("cross entropy", {{"workspace", args.workspace}}));
  double* const row_loss = static_cast<double*>(args.workspace);
  if (args.vocabulary >= kWideFrom) {
    LaunchRows<T, kWide>(args, row_loss, stream);
  } else {
    LaunchRows<T, kNarrow>(args, row_loss, stream);
  }
  RETURN_IF_ERROR(LaunchStatus("cross entropy: CrossEntropyRowsKernel"));
  AddLossesKernel<<<1, kSumThreads, 0, stream>>>(row_loss, args.targets, args.tokens, args.sums);
  return LaunchStatus("cross entropy: AddLossesKernel");
}

template absl::Status CrossEntropy(const CrossEntropyArgs<float>&, StreamHandle);
template absl::Status CrossEntropy(const CrossEntropyArgs<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
