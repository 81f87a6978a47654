// Three kernels in which a warp owns a row and walks the rows on the other side, 32 in shared
// memory at a time: forward, then dq with delta, then dk and dv, which read delta.
#include "kernels/cuda/attention_plain.h"

#include <cuda_runtime.h>

#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 8;  // rows of a block: queries, or keys
constexpr int kThreads = kWarps * kWarp;
constexpr int kTile = kWarp;  // rows that stand in shared memory at a time, one for each lane
constexpr unsigned kAllLanes = 0xffffffffu;

// One call's run of sequences.  q, k, v and their gradients have rows `stride` apart, out and dout
// rows of heads * D.
template <typename T>
struct Problem {
  const T *q, *k, *v, *out, *dout;
  T *result, *dq, *dk, *dv;
  float* lse;    // [heads, tokens]
  float* delta;  // [heads, tokens]: sum over channels of dout * out
  int64_t tokens, stride, start, length;
  int heads, kv_heads, head_dim;
  float scale;
};

// The head, sequence and block of rows that a block of threads owns.
struct Place {
  template <typename T>
  __device__ Place(const Problem<T>& p)
      : blocks((p.length + kWarps - 1) / kWarps),
        sequence(p.start + blockIdx.x / blocks * p.length),
        first(blockIdx.x % blocks * kWarps),
        row(first + threadIdx.x / kWarp) {}
  int64_t blocks;
  int64_t sequence;  // its first token
  int64_t first;     // of the block's rows, counted in the sequence
  int64_t row;       // of this warp; may lie behind the sequence's end
};

__device__ float WarpSum(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}
__device__ float WarpMax(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  }
  return value;
}

// Rows [first, first + kTile) of x [rows, head_dim], zeros behind the last, to a tile of shared
// memory whose rows are one float longer, so that the lanes of a column hit different banks.
template <typename T>
__device__ void LoadTile(const T* x, int64_t stride, int64_t first, int64_t rows, int head_dim,
                         float* tile) {
  for (int i = threadIdx.x; i < kTile * head_dim; i += kThreads) {
    const int row = i / head_dim, channel = i % head_dim;
    const bool inside = first + row < rows;
    tile[row * (head_dim + 1) + channel] = inside ? Load(x[(first + row) * stride + channel]) : 0.f;
  }
}

// This warp's row of x to shared memory; zeros where there is none.
template <typename T>
__device__ void LoadRow(const T* x, bool exists, int head_dim, float* row) {
  for (int c = threadIdx.x % kWarp; c < head_dim; c += kWarp) row[c] = exists ? Load(x[c]) : 0.f;
}

__device__ float Dot(const float* a, const float* b, int head_dim) {
  float sum = 0.0f;
  for (int c = 0; c < head_dim; ++c) sum += a[c] * b[c];
  return sum;
}

// sums[i] += sum over the tile's rows r of weight(lane r) * tile[r][lane + 32 i].
template <int kChannels>
__device__ void AddWeighted(float weight, const float* tile, int head_dim, float* sums) {
  const int lane = threadIdx.x % kWarp;
  for (int r = 0; r < kTile; ++r) {
    const float w = __shfl_sync(kAllLanes, weight, r);
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      const int c = lane + kWarp * i;
      if (c < head_dim) sums[i] += w * tile[r * (head_dim + 1) + c];
    }
  }
}

template <int kChannels, typename T>
__device__ void StoreRow(const float* sums, float factor, int head_dim, T* row) {
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int c = threadIdx.x % kWarp + kWarp * i;
    if (c < head_dim) row[c] = Store<T>(sums[i] * factor);
  }
}

// One warp per query, one lane per key of a tile; softmax online.  grid: (sequences * blocks of
// queries, heads); shared: the queries and one tile.
template <int kChannels, typename T>
__global__ __launch_bounds__(kThreads) void ForwardKernel(Problem<T> p) {
  extern __shared__ float shared[];
  const Place at(p);
  const int D = p.head_dim, head = blockIdx.y, lane = threadIdx.x % kWarp;
  const int kv_head = head / (p.heads / p.kv_heads);
  const int64_t token = at.sequence + at.row;
  const bool exists = at.row < p.length;
  const T* keys = p.k + at.sequence * p.stride + kv_head * D;
  const T* values = p.v + at.sequence * p.stride + kv_head * D;
  float *query = shared + threadIdx.x / kWarp * D, *tile = shared + kWarps * D;
  LoadRow(p.q + token * p.stride + head * D, exists, D, query);

  float sums[kChannels] = {}, largest = -INFINITY, total = 0.0f;
  const int64_t end = min(at.first + kWarps, p.length);  // keys that the block sees
  for (int64_t first = 0; first < end; first += kTile) {
    // Scores against a tile of keys; the softmax of what has been seen so far is rescaled to them.
    __syncthreads();
    LoadTile(keys, p.stride, first, p.length, D, tile);
    __syncthreads();
    const bool visible = first + lane <= at.row;
    const float score = visible ? Dot(query, tile + lane * (D + 1), D) * p.scale : -INFINITY;
    // Key 0 is seen by all, so `larger` is finite.
    const float larger = fmaxf(largest, WarpMax(score));
    const float weight = visible ? expf(score - larger) : 0.0f, shrink = expf(largest - larger);
    total = total * shrink + WarpSum(weight);
    largest = larger;
    // The same tile of values, weighed.
    __syncthreads();
    LoadTile(values, p.stride, first, p.length, D, tile);
    __syncthreads();
    for (float& sum : sums) sum *= shrink;
    AddWeighted<kChannels>(weight, tile, D, sums);
  }
  if (!exists) return;
  StoreRow<kChannels>(sums, 1.0f / total, D, p.result + (token * p.heads + head) * D);
  if (lane == 0) p.lse[head * p.tokens + token] = largest + logf(total);
}

// One warp per query, one lane per key of a tile: dq, and delta for the keys' kernel.  grid and
// shared as above, with dout beside the queries.
template <int kChannels, typename T>
__global__ __launch_bounds__(kThreads) void QueryGradientKernel(Problem<T> p) {
  extern __shared__ float shared[];
  const Place at(p);
  const int D = p.head_dim, head = blockIdx.y, lane = threadIdx.x % kWarp;
  const int kv_head = head / (p.heads / p.kv_heads), warp = threadIdx.x / kWarp;
  const int64_t token = at.sequence + at.row;
  const bool exists = at.row < p.length;
  const T* keys = p.k + at.sequence * p.stride + kv_head * D;
  const T* values = p.v + at.sequence * p.stride + kv_head * D;
  const int64_t out_at = (token * p.heads + head) * D;
  float *query = shared + warp * D, *dout = query + kWarps * D, *tile = shared + 2 * kWarps * D;
  LoadRow(p.q + token * p.stride + head * D, exists, D, query);
  LoadRow(p.dout + out_at, exists, D, dout);

  // delta, for this kernel and the next.
  float delta = 0.0f;
  for (int c = lane; exists && c < D; c += kWarp) delta += Load(p.out[out_at + c]) * dout[c];
  delta = WarpSum(delta);
  const float lse = exists ? p.lse[head * p.tokens + token] : 0.0f;
  if (exists && lane == 0) p.delta[head * p.tokens + token] = delta;

  float sums[kChannels] = {};
  const int64_t end = min(at.first + kWarps, p.length);
  for (int64_t first = 0; first < end; first += kTile) {
    // Gradients of the weights: dout against a tile of values.
    __syncthreads();
    LoadTile(values, p.stride, first, p.length, D, tile);
    __syncthreads();
    const float dweight = Dot(dout, tile + lane * (D + 1), D);
    // The scores again, against the same tile of keys; then through the softmax to dq.
    __syncthreads();
    LoadTile(keys, p.stride, first, p.length, D, tile);
    __syncthreads();
    const bool visible = exists && first + lane <= at.row;
    const float score = Dot(query, tile + lane * (D + 1), D) * p.scale;
    const float dscore = visible ? expf(score - lse) * (dweight - delta) : 0.0f;
    AddWeighted<kChannels>(dscore, tile, D, sums);
  }
  if (exists) StoreRow<kChannels>(sums, p.scale, D, p.dq + token * p.stride + head * D);
}

// One warp per key, one lane per query of a tile, over all query heads of the key's head in
// ascending order.  grid: (sequences * blocks of keys, kv_heads); shared: keys, values and two
// tiles.
template <int kChannels, typename T>
__global__ __launch_bounds__(kThreads) void KeyGradientKernel(Problem<T> p) {
  extern __shared__ float shared[];
  const Place at(p);
  const int D = p.head_dim, kv_head = blockIdx.y, lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp, group = p.heads / p.kv_heads;
  const int64_t token = at.sequence + at.row;
  const bool exists = at.row < p.length;
  const int64_t key_at = token * p.stride + kv_head * D;
  float *key = shared + warp * D, *value = key + kWarps * D;
  float *queries = shared + 2 * kWarps * D, *douts = queries + kTile * (D + 1);
  LoadRow(p.k + key_at, exists, D, key);
  LoadRow(p.v + key_at, exists, D, value);

  float dkey[kChannels] = {}, dvalue[kChannels] = {};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    const T* q = p.q + at.sequence * p.stride + head * D;
    const T* dout = p.dout + (at.sequence * p.heads + head) * D;
    const int64_t row_at = head * p.tokens + at.sequence;  // of lse and delta
    for (int64_t first = at.first / kTile * kTile; first < p.length; first += kTile) {
      __syncthreads();
      LoadTile(q, p.stride, first, p.length, D, queries);
      LoadTile(dout, int64_t{p.heads} * D, first, p.length, D, douts);
      __syncthreads();
      // Weights and their gradients, transposed: a lane is a query, which may see this key.
      const int64_t query = first + lane;
      const bool visible = exists && query >= at.row && query < p.length;
      const float score = Dot(key, queries + lane * (D + 1), D) * p.scale;
      const float dweight = Dot(value, douts + lane * (D + 1), D);
      const float weight = visible ? expf(score - p.lse[row_at + query]) : 0.0f;
      const float dscore = visible ? weight * (dweight - p.delta[row_at + query]) : 0.0f;
      // dv from dout, dk from q.
      AddWeighted<kChannels>(weight, douts, D, dvalue);
      AddWeighted<kChannels>(dscore, queries, D, dkey);
    }
  }
  if (!exists) return;
  StoreRow<kChannels>(dkey, p.scale, D, p.dk + key_at);
  StoreRow<kChannels>(dvalue, 1.0f, D, p.dv + key_at);
}

template <typename T>
Problem<T> ProblemOf(const AttentionShape& shape, const SequenceRun& run) {
  Problem<T> problem = {};
  problem.tokens = shape.tokens;
  problem.stride = shape.qkv_stride;
  problem.start = run.start;
  problem.length = run.length;
  problem.heads = shape.heads;
  problem.kv_heads = shape.kv_heads;
  problem.head_dim = shape.head_dim;
  problem.scale = float(1.0 / std::sqrt(double(shape.head_dim)));
  return problem;
}

template <typename T>
using Kernel = void (*)(Problem<T>);

// `rows` of the block and `tiles` stand in shared memory.
template <typename T>
absl::Status Launch(const char* name, Kernel<T> kernel, const Problem<T>& problem,
                    const SequenceRun& run, int heads, int rows, int tiles, StreamHandle stream) {
  const int64_t blocks = (run.length + kWarps - 1) / kWarps * run.count;
  const int D = problem.head_dim;
  const int bytes = (rows * kWarps * D + tiles * kTile * (D + 1)) * int{sizeof(float)};
  constexpr int kWithoutAsking = 48 << 10;  // a kernel may have more, after a word to CUDA
  if (bytes > kWithoutAsking) {
    RETURN_IF_ERROR(ToStatus(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), name));
  }
  kernel<<<dim3(unsigned(blocks), unsigned(heads)), kThreads, bytes, stream>>>(problem);
  return LaunchStatus(name);
}

// with(std::integral_constant: channels of a lane).
template <typename With>
absl::Status DispatchChannels(int head_dim, With&& with) {
  if (head_dim <= 1 * kWarp) return with(std::integral_constant<int, 1>{});
  if (head_dim <= 2 * kWarp) return with(std::integral_constant<int, 2>{});
  if (head_dim <= 4 * kWarp) return with(std::integral_constant<int, 4>{});
  return with(std::integral_constant<int, kPlainMaxHeadDim / kWarp>{});
}

}  // namespace

template <typename T>
absl::Status PlainAttentionForward(const AttentionForwardArgs<T>& args, const SequenceRun& run,
                                   StreamHandle stream) {
  Problem<T> problem = ProblemOf<T>(args.shape, run);
  problem.q = args.q;
  problem.k = args.k;
  problem.v = args.v;
  problem.result = args.out;
  problem.lse = args.lse;
  return DispatchChannels(problem.head_dim, [&](auto channels) {
    return Launch<T>("attention ForwardKernel", ForwardKernel<channels.value, T>, problem, run,
                     problem.heads, 1, 1, stream);
  });
}

template <typename T>
absl::Status PlainAttentionBackward(const AttentionBackwardArgs<T>& args, const SequenceRun& run,
                                    StreamHandle stream) {
  Problem<T> problem = ProblemOf<T>(args.shape, run);
  problem.q = args.q;
  problem.k = args.k;
  problem.v = args.v;
  problem.out = args.out;
  problem.dout = args.dout;
  problem.lse = const_cast<float*>(args.lse);  // read alone
  problem.delta = static_cast<float*>(args.workspace);
  problem.dq = args.dq;
  problem.dk = args.dk;
  problem.dv = args.dv;
  return DispatchChannels(problem.head_dim, [&](auto channels) {
    RETURN_IF_ERROR(Launch<T>("attention QueryGradientKernel",
                              QueryGradientKernel<channels.value, T>, problem, run, problem.heads,
                              2, 1, stream));
    return Launch<T>("attention KeyGradientKernel", KeyGradientKernel<channels.value, T>, problem,
                     run, problem.kv_heads, 2, 2, stream);
  });
}

int64_t PlainAttentionWorkspaceBytes(const AttentionShape& shape) {
  return shape.heads * shape.tokens * int64_t{sizeof(float)};
}

template absl::Status PlainAttentionForward(const AttentionForwardArgs<float>&, const SequenceRun&,
                                            StreamHandle);
template absl::Status PlainAttentionForward(const AttentionForwardArgs<bf16>&, const SequenceRun&,
                                            StreamHandle);
template absl::Status PlainAttentionBackward(const AttentionBackwardArgs<float>&,
                                             const SequenceRun&, StreamHandle);
template absl::Status PlainAttentionBackward(const AttentionBackwardArgs<bf16>&, const SequenceRun&,
                                             StreamHandle);

}  // namespace birkhoff::cuda
