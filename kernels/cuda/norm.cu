// The norm of all gradients of a rank, on the GPU: one pass, then the sum of what blocks found.
#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/device/group.cuh"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/spans.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunk = 16384;  // elements of a block: 16 loads of 16 bytes a thread
constexpr int kSumThreads = 1024;  // 2^30 parameters: 64 partial sums a thread

int64_t NumBlocks(int64_t count) { return (count + kChunk - 1) / kChunk; }

struct Tally {
  __device__ void Add(float value) {
    const bool is_finite = isfinite(value);
    const double finite = is_finite ? double(value) : 0.0;
    squared += finite * finite;
    non_finite += is_finite ? 0 : 1;
  }
  double squared = 0.0;
  int non_finite = 0;
};

// A block owns kChunk elements of the concatenation.  grid: NumBlocks; block: kThreads; shared: 96
// bytes; reads each counted gradient once.
template <typename T>
__global__ __launch_bounds__(kThreads) void NormOfChunksKernel(ParameterSpans<T> parameters,
                                                               GradientNorm* partial) {
  __shared__ double squares[kThreads / kWarpSize];
  __shared__ int counts[kThreads / kWarpSize];
  Tally tally;
  const int64_t begin = int64_t{blockIdx.x} * kChunk;
  ForPieces(parameters, begin, min(begin + kChunk, parameters.count),
            [&](const ParameterSpan<T>& span, int64_t first, int64_t last) {
              if (span.counted == 0) return;
              ForElements<kThreads>(
                  first, last, IsAligned(span.gradient),
                  [&](int64_t i) {
                    const Group<float, 4> four = GroupAt<4>(span.gradient, i);
                    for (const float value : four.at) tally.Add(value);
                  },
                  [&](int64_t i) { tally.Add(span.gradient[i]); });
            });
  const double squared = BlockReduce<kThreads>(tally.squared, squares, Sum());
  const int non_finite = BlockReduce<kThreads>(tally.non_finite, counts, Sum());
  if (threadIdx.x == 0) partial[blockIdx.x] = {squared, double(non_finite)};
}

// One block adds all partial sums.  grid: 1; block: kSumThreads; shared: 256 bytes.
__global__ __launch_bounds__(kSumThreads) void AddNormsKernel(const GradientNorm* partial,
                                                              int64_t num, GradientNorm* norm) {
  __shared__ double scratch[kSumThreads / kWarpSize];
  GradientNorm sum;
  for (int64_t i = threadIdx.x; i < num; i += kSumThreads) {
    sum.squared += partial[i].squared;
    sum.non_finite += partial[i].non_finite;
  }
  sum.squared = BlockReduce<kSumThreads>(sum.squared, scratch, Sum());
  sum.non_finite = BlockReduce<kSumThreads>(sum.non_finite, scratch, Sum());
  if (threadIdx.x != 0) return;
  norm->squared += sum.squared;
  norm->non_finite += sum.non_finite;
}

}  // namespace

int64_t NormWorkspaceBytes(int, int64_t count) {
  return NumBlocks(count) * int64_t{sizeof(GradientNorm)};
}

template <typename T>
absl::Status AccumulateNorm(const GradientNormArgs<T>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.parameters.num == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers("norm", {{"workspace", args.workspace}}));
  GradientNorm* const partial = static_cast<GradientNorm*>(args.workspace);
  const int64_t blocks = NumBlocks(args.parameters.count);
  NormOfChunksKernel<<<unsigned(blocks), kThreads, 0, stream>>>(args.parameters, partial);
  RETURN_IF_ERROR(LaunchStatus("norm: NormOfChunksKernel"));
  AddNormsKernel<<<1, kSumThreads, 0, stream>>>(partial, blocks, args.norm);
  return LaunchStatus("norm: AddNormsKernel");
}

template absl::Status AccumulateNorm(const GradientNormArgs<float>&, StreamHandle);
template absl::Status AccumulateNorm(const GradientNormArgs<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
