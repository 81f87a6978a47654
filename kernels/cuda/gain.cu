// Gains of the matrices of many tokens on the GPU: partial sums per block, then the sum of those.
#include <algorithm>
#include <cstdint>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/device/group.cuh"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"
#include "kernels/with_streams.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 128;        // a token each
constexpr int64_t kMaxBlocks = 256;  // a thread each when their sums are added; one sweep of a
                                     // block up to 32768 tokens
constexpr int kSumThreads = int{kMaxBlocks};

int64_t TokensPerBlock(int64_t tokens) {
  constexpr int64_t kSweep = kMaxBlocks * kThreads;
  return (tokens + kSweep - 1) / kSweep * kThreads;
}
int64_t NumBlocks(int64_t tokens) {
  const int64_t each = TokensPerBlock(tokens);
  return each == 0 ? 0 : (tokens + each - 1) / each;
}

// What a block found: its GainSums, and behind those of all blocks [blocks, n, n] of sums of M.
struct Partials {
  GainSums* sums;
  double* matrices;
};

Partials CutWorkspace(void* workspace, int64_t blocks) {
  GainSums* const sums = static_cast<GainSums*>(workspace);
  return {sums, reinterpret_cast<double*>(sums + blocks)};
}

// max, but a NaN stays.
__device__ double Largest(double so_far, double value) {
  return value > so_far || isnan(value) ? value : so_far;
}

template <int N>
__device__ void LoadMatrix(const float* matrix, bool packed, float (&entries)[N * N]) {
  if constexpr (N * N % 4 == 0) {
    if (packed) {
      for (int k = 0; k < N * N; k += 4) {
        const Group<float, 4> four = GroupAt<4>(matrix, k);
        for (int j = 0; j < 4; ++j) entries[k + j] = four.at[j];
      }
      return;
    }
  }
  for (int k = 0; k < N * N; ++k) entries[k] = matrix[k];
}

// As AddMatrix of the CPU: sums in double, of a NaN a NaN; minima pass a NaN over.
template <int N>
__device__ void AddMatrix(const float (&entries)[N * N], GainSums& sums) {
  double rows[N] = {}, columns[N] = {}, forward = 0.0, backward = 0.0;
  for (int k = 0; k < N * N; ++k) {
    rows[k / N] += double(entries[k]);
    columns[k % N] += double(entries[k]);
  }
  for (int i = 0; i < N; ++i) {
    forward = Largest(forward, fabs(rows[i]));
    backward = Largest(backward, fabs(columns[i]));
    sums.row_sum_min = Min()(sums.row_sum_min, rows[i]);
    sums.column_sum_min = Min()(sums.column_sum_min, columns[i]);
  }
  sums.forward += forward;
  sums.backward += backward;
}

template <int kBlock>
__device__ GainSums ReduceSums(GainSums sums, double* scratch) {
  return {.forward = BlockReduce<kBlock>(sums.forward, scratch, Sum()),
          .backward = BlockReduce<kBlock>(sums.backward, scratch, Sum()),
          .row_sum_min = BlockReduce<kBlock>(sums.row_sum_min, scratch, Min()),
          .column_sum_min = BlockReduce<kBlock>(sums.column_sum_min, scratch, Min())};
}

// Of threads that each added some of the numbers of entry `threadIdx.x % entries`: their sums, to
// the first `entries` threads.  scratch: [block].
__device__ double SumEntries(double sum, int entries, double* scratch) {
  const int thread = int(threadIdx.x);
  scratch[thread] = sum;
  __syncthreads();
  double total = 0.0;
  for (int i = thread; thread < entries && i < int(blockDim.x); i += entries) total += scratch[i];
  return total;
}

// A block owns tokens_per_block tokens.  grid: NumBlocks; block: kThreads, a token each; shared:
// 1056 bytes; reads the matrices once, and from the cache again where their sum is wanted.
template <int N>
__global__ __launch_bounds__(kThreads, 4) void GainOfBlocksKernel(GainArgs<float> args,
                                                                  int64_t tokens_per_block,
                                                                  bool packed, Partials partials) {
  __shared__ double scratch[kThreads / kWarpSize], entry_sums[kThreads];
  const int64_t begin = blockIdx.x * tokens_per_block;
  const int64_t end = min(begin + tokens_per_block, args.tokens);

  // Sweep 1: gains, a token per thread.
  GainSums sums;
  for (int64_t t = begin + threadIdx.x; t < end; t += kThreads) {
    float entries[N * N];
    LoadMatrix<N>(args.matrices + t * args.stride, packed, entries);
    AddMatrix<N>(entries, sums);
  }
  sums = ReduceSums<kThreads>(sums, scratch);
  if (threadIdx.x == 0) partials.sums[blockIdx.x] = sums;
  if (args.matrix == nullptr) return;

  // Sweep 2: the sum of matrices, an entry per thread, so that neighbours read neighbours.
  constexpr int kEntries = N * N, kGroups = kThreads / kEntries;
  const int group = threadIdx.x / kEntries, entry = threadIdx.x % kEntries;
  double sum = 0.0;
  for (int64_t t = begin + group; group < kGroups && t < end; t += kGroups) {
    sum += double(args.matrices[t * args.stride + entry]);
  }
  sum = SumEntries(sum, kEntries, entry_sums);
  if (threadIdx.x < kEntries) partials.matrices[blockIdx.x * kEntries + entry] = sum;
}

// One block adds what all blocks found.  grid: 1; block: kSumThreads; shared: 2112 bytes.
__global__ __launch_bounds__(kSumThreads) void AddGainsKernel(GainArgs<float> args, int64_t blocks,
                                                              Partials partials) {
  __shared__ double scratch[kSumThreads / kWarpSize], entry_sums[kSumThreads];
  // The gains.
  const GainSums sums = ReduceSums<kSumThreads>(
      threadIdx.x < blocks ? partials.sums[threadIdx.x] : GainSums(), scratch);
  if (threadIdx.x == 0) {
    args.sums->forward += sums.forward;
    args.sums->backward += sums.backward;
    args.sums->row_sum_min = Min()(args.sums->row_sum_min, sums.row_sum_min);
    args.sums->column_sum_min = Min()(args.sums->column_sum_min, sums.column_sum_min);
  }
  if (args.matrix == nullptr) return;
  // The sum of matrices.
  const int entries = args.streams * args.streams, groups = kSumThreads / entries;
  const int group = threadIdx.x / entries, entry = threadIdx.x % entries;
  double sum = 0.0;
  for (int64_t b = group; group < groups && b < blocks; b += groups) {
    sum += partials.matrices[b * entries + entry];
  }
  sum = SumEntries(sum, entries, entry_sums);
  if (threadIdx.x < entries) args.matrix[entry] += sum;
}

}  // namespace

int64_t GainWorkspaceBytes(int streams, int64_t tokens) {
  const int64_t matrix = int64_t{streams} * streams * int64_t{sizeof(double)};
  return NumBlocks(tokens) * (int64_t{sizeof(GainSums)} + matrix);
}

// Matrices are of scalars, whatever the type of streams.
template <>
absl::Status AccumulateGain(const GainArgs<float>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers("gain", {{"workspace", args.workspace}}));
  const int64_t blocks = NumBlocks(args.tokens);
  const Partials partials = CutWorkspace(args.workspace, blocks);
  const bool packed = args.stride % 4 == 0 && IsAligned(args.matrices);
  WithStreams(args.streams, [&](auto n) {
    GainOfBlocksKernel<n()><<<unsigned(blocks), kThreads, 0, stream>>>(
        args, TokensPerBlock(args.tokens), packed, partials);
  });
  RETURN_IF_ERROR(LaunchStatus("gain: GainOfBlocksKernel"));
  AddGainsKernel<<<1, kSumThreads, 0, stream>>>(args, blocks, partials);
  return LaunchStatus("gain: AddGainsKernel");
}

template <>
absl::Status AccumulateGain(const GainArgs<bf16>& args, StreamHandle stream) {
  return AccumulateGain(GainArgs<float>{.streams = args.streams,
                                        .tokens = args.tokens,
                                        .matrices = args.matrices,
                                        .stride = args.stride,
                                        .sums = args.sums,
                                        .matrix = args.matrix,
                                        .workspace = args.workspace},
                        stream);
}

}  // namespace birkhoff::cuda
