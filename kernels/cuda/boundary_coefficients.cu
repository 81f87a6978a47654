// The coefficients of a boundary, H_pre, H_post and H_res, from the saved products, and back.  A
// group of lanes owns a token; nothing here is C wide.
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/gates.cuh"
#include "kernels/cuda/device/mappings.cuh"
#include "kernels/cuda/mapping_dispatch.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

// Pointers of one call, forward or backward.
struct CoefficientArgs {
  int64_t tokens = 0;
  int iterations = 0;
  int64_t channels = 0;
  const float* alpha = nullptr;
  const float* bias = nullptr;
  const float* logits = nullptr;         // the dynamic ones of p, q, s, then 1 / r
  float* coefficients = nullptr;         // forward: out
  const float* made = nullptr;           // backward: the coefficients
  const float* dcoefficients = nullptr;  // backward
  float* dproducts = nullptr;            // backward: out
  float* norm = nullptr;                 // backward: out
  float* sums = nullptr;                 // backward: out, one row a block
  int slots = 0;                         // backward: of Sinkhorn's history
  bool equal_streams = false;            // backward: H_res x is x, whatever its logits
};

// The argument of column k of one token, whose logits are `in`.
template <int N, typename Mapping>
__device__ inline float ArgumentOf(const CoefficientArgs& args, const float* in, int k) {
  if (k >= Mapping::kDynamic) return args.bias[k];
  return fmaf(args.alpha[k < N ? 0 : k < 2 * N ? 1 : 2], in[k], args.bias[k]);
}

// A group of lanes owns a token, lane j its H_pre[j], H_post[j] and row j of H_res.
// grid: MappingBlocks; shared: none.
template <int N, typename Mapping>
__global__ __launch_bounds__(kMappingThreads) void MhcForwardKernel(CoefficientArgs args) {
  const RowLane<N> lane;
  const int64_t t = MappingToken<N>(blockIdx.x, threadIdx.x);
  if (t >= args.tokens) return;
  const float* in = args.logits + t * (Mapping::kDynamic + 1);
  float row[N];
  Mapping::Forward(
      lane, [&](int k) { return ArgumentOf<N, Mapping>(args, in, 2 * N + k); }, args.iterations,
      row);
  if (!lane.active()) return;
  float* out = args.coefficients + t * (2 * N + N * N);
  const int pre = lane.row, post = N + lane.row;
  out[pre] = ReadWeight<Mapping::kRead>(ArgumentOf<N, Mapping>(args, in, pre));
  out[post] = WriteWeight<Mapping::kWrite>(ArgumentOf<N, Mapping>(args, in, post));
#pragma unroll
  for (int j = 0; j < N; ++j) out[2 * N + lane.row * N + j] = row[j];
}

// The same for kHc; lane j makes what stream j's products give: H_pre[j], H_post[j] and column j of
// H_res.
template <int N>
__global__ __launch_bounds__(kMappingThreads) void HcForwardKernel(CoefficientArgs args) {
  const RowLane<N> lane;
  const int64_t t = MappingToken<N>(blockIdx.x, threadIdx.x);
  if (t >= args.tokens || !lane.active()) return;
  const float* in = args.logits + (t * N + lane.row) * (N + 3);
  float* out = args.coefficients + t * (2 * N + N * N);
#pragma unroll
  for (int k = 0; k < N + 2; ++k) {
    const int slot = k * N + lane.row;
    out[slot] = HcGate(args.alpha[k < 2 ? k : 2], in[k], args.bias[slot]);
  }
}

// What a block adds up over its tokens: gradients of the gates' arguments, and of alpha by token.
template <int N, int kColumns>
struct CoefficientSums {
  float bias[MappingTokens(N)][kColumns];
  float alpha[MappingTokens(N)][3];

  // A thread owns a sum; over the block's tokens in order, in double.
  __device__ void Add(float* out) const {
    const int k = int(threadIdx.x);
    if (k >= 3 + kColumns) return;
    double sum = 0.0;
    for (int t = 0; t < MappingTokens(N); ++t) sum += k < 3 ? alpha[t][k] : bias[t][k - 3];
    out[k] = float(sum);
  }
};

// One token of kMhc, backward: dcoefficients -> gradients of alpha p + bias into `dgates`.
template <int N, typename Mapping>
__device__ inline void MhcGatesBackward(const CoefficientArgs& args, const RowLane<N>& lane,
                                        int64_t t, double* history, float* dgates) {
  const float* in = args.logits + t * (Mapping::kDynamic + 1);
  const float* h = args.made + t * (2 * N + N * N);
  const float* dh = args.dcoefficients + t * (2 * N + N * N);
  Mapping::Backward(
      lane, [&](int k) { return ArgumentOf<N, Mapping>(args, in, 2 * N + k); },
      [&](int k) { return dh[2 * N + k]; }, args.iterations,
      {args.slots, kMappingThreads, history + threadIdx.x},
      [&](int k, float value) { dgates[2 * N + k] = args.equal_streams ? 0.0f : value; });
  if (!lane.active()) return;
  const int pre = lane.row, post = N + lane.row;
  dgates[pre] = ReadGradient<Mapping::kRead>(h[pre], dh[pre]);
  dgates[post] = WriteGradient<Mapping::kWrite>(h[post], dh[post]);
}

// A group of lanes owns a token.  grid: MappingBlocks; shared: the sums (a row a token), and behind
// them Sinkhorn's history.
template <int N, typename Mapping>
__global__ __launch_bounds__(kMappingThreads, 1) void MhcBackwardKernel(CoefficientArgs args) {
  constexpr int kColumns = 2 * N + Mapping::kLogits;
  extern __shared__ double history[];
  __shared__ CoefficientSums<N, kColumns> sums;
  const RowLane<N> lane;
  const int64_t t = MappingToken<N>(blockIdx.x, threadIdx.x);
  const int local = int(threadIdx.x) / GroupLanes(N);
  float* dgates = sums.bias[local];
  // Through the gates and the mapping.
  if (t < args.tokens) {
    MhcGatesBackward<N, Mapping>(args, lane, t, history, dgates);
  } else {
    for (int k = lane.row; k < kColumns; k += GroupLanes(N)) dgates[k] = 0.0f;
  }
  __syncwarp();

  // Through alpha, and through r: every lane a few of the columns that depend on the token.
  float alpha[3] = {0.0f, 0.0f, 0.0f}, through_norm = 0.0f;
  if (t < args.tokens) {
    constexpr int kDynamic = Mapping::kDynamic;
    const float* in = args.logits + t * (kDynamic + 1);
    const float inverse = in[kDynamic];
    for (int k = lane.row; k < kDynamic; k += GroupLanes(N)) {
      const int part = k < N ? 0 : k < 2 * N ? 1 : 2;
#pragma unroll
      for (int each = 0; each < 3; ++each) {
        if (part == each) alpha[each] = fmaf(dgates[k], in[k], alpha[each]);
      }
      const float dlogit = args.alpha[part] * dgates[k];
      through_norm = fmaf(dlogit, in[k], through_norm);
      args.dproducts[t * kDynamic + k] = dlogit * inverse;
    }
    through_norm = lane.Sum(through_norm);
    const float factor = inverse * inverse * through_norm / float(N * args.channels);
    if (lane.active()) args.norm[t * N + lane.row] = factor;
  }
  // This token's share of alpha's gradient, then the block's sums.
#pragma unroll
  for (int each = 0; each < 3; ++each) {
    alpha[each] = lane.Sum(alpha[each]);
    if (lane.row == 0) sums.alpha[local][each] = alpha[each];
  }
  __syncthreads();
  sums.Add(args.sums + int64_t{blockIdx.x} * (3 + kColumns));
}

// The same for kHc; lane j owns stream j of its token.
template <int N>
__global__ __launch_bounds__(kMappingThreads) void HcBackwardKernel(CoefficientArgs args) {
  constexpr int kColumns = 2 * N + N * N;
  __shared__ CoefficientSums<N, kColumns> sums;
  const RowLane<N> lane;
  const int64_t t = MappingToken<N>(blockIdx.x, threadIdx.x);
  const int local = int(threadIdx.x) / GroupLanes(N);
  const bool here = t < args.tokens;
  float alpha[3] = {0.0f, 0.0f, 0.0f};
  // Through tanh, alpha and r, a product at a time.
  if (lane.active()) {
    const int64_t row = here ? t * N + lane.row : 0;
    const float* in = args.logits + row * (N + 3);
    const float inverse = in[N + 2];
    float through_norm = 0.0f;
#pragma unroll
    for (int k = 0; k < N + 2; ++k) {
      const int part = k < 2 ? k : 2, slot = k * N + lane.row;
      const float dh = here ? args.dcoefficients[t * kColumns + slot] : 0.0f;
      const float tanh = tanhf(in[k]);
      sums.bias[local][slot] = dh;
      if (here) alpha[part] = fmaf(dh, tanh, alpha[part]);
      const float ddot = args.alpha[part] * dh * (1.0f - tanh * tanh);
      through_norm = fmaf(ddot, in[k], through_norm);
      if (here) args.dproducts[row * (N + 2) + k] = ddot * inverse;
    }
    if (here) args.norm[row] = inverse * inverse * through_norm / float(args.channels);
  }
  // This token's share of alpha's gradient, then the block's sums.
#pragma unroll
  for (int each = 0; each < 3; ++each) {
    alpha[each] = lane.Sum(alpha[each]);
    if (lane.row == 0) sums.alpha[local][each] = alpha[each];
  }
  __syncthreads();
  sums.Add(args.sums + int64_t{blockIdx.x} * (3 + kColumns));
}

constexpr int kSumThreads = 256;

// alpha and bias += their sums over all blocks.  A block owns one of them.  grid: 3 + bias; shared:
// one double a thread.  In double; thread k takes every 256th block, then a fixed tree.
__global__ __launch_bounds__(kSumThreads) void AddSumsKernel(const float* sums, int64_t blocks,
                                                             float* dalpha, float* dbias) {
  __shared__ double partial[kSumThreads];
  const int value = int(blockIdx.x), values = int(gridDim.x);
  double sum = 0.0;
  for (int64_t b = threadIdx.x; b < blocks; b += kSumThreads) sum += sums[b * values + value];
  partial[threadIdx.x] = sum;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x > 0) return;
  if (value < 3 && dalpha == nullptr) return;  // a mapping without a dynamic column
  float* out = value < 3 ? dalpha + value : dbias + value - 3;
  *out += float(partial[0]);
}

CoefficientArgs ArgsOf(const BoundaryShape& shape, const BoundaryParameters<float>& parameters,
                       const float* logits) {
  return {.tokens = shape.tokens,
          .iterations = shape.sinkhorn_iterations,
          .channels = shape.channels,
          .alpha = parameters.alpha,
          .bias = parameters.bias,
          .logits = logits};
}

// A block's static sums leave less than 48 KB for the history.
template <int N, typename Mapping>
int SlotsBeside(const MixShape& shape) {
  constexpr int64_t kSums = sizeof(CoefficientSums<N, 2 * N + Mapping::kLogits>);
  constexpr int64_t kSlot = int64_t{kMappingThreads} * int64_t{sizeof(double)};
  static_assert(kMaxHistoryBytes - kSums >= 2 * kSlot, "no room for a history");
  return int(std::min<int64_t>(HistorySlots<Mapping>(shape), (kMaxHistoryBytes - kSums) / kSlot));
}

}  // namespace

absl::Status FormCoefficients(const BoundaryShape& shape,
                              const BoundaryParameters<float>& parameters, const float* logits,
                              float* coefficients, StreamHandle stream) {
  CoefficientArgs args = ArgsOf(shape, parameters, logits);
  args.coefficients = coefficients;
  const unsigned blocks = MappingBlocks(shape.streams, shape.tokens);
  if (shape.kind == BoundaryKind::kHc) {
    WithStreams(shape.streams, [&](auto n) {
      HcForwardKernel<n()><<<blocks, kMappingThreads, 0, stream>>>(args);
    });
  } else {
    WithMapping(MixShapeOf(shape), [&](auto n, auto mapping) {
      MhcForwardKernel<n(), decltype(mapping)><<<blocks, kMappingThreads, 0, stream>>>(args);
    });
  }
  return LaunchStatus("coefficients forward");
}

absl::Status BackCoefficients(const BoundaryShape& shape,
                              const BoundaryParameters<float>& parameters,
                              const BoundaryGradients<float>& gradients, const float* coefficients,
                              const float* logits, bool equal_streams,
                              const BoundaryWorkspace& work, StreamHandle stream) {
  CoefficientArgs args = ArgsOf(shape, parameters, logits);
  args.equal_streams = equal_streams && TraitsOf(shape.mapping).rows_sum_to_1;
  args.made = coefficients;
  args.dcoefficients = work.dcoefficients;
  args.dproducts = work.dproducts;
  args.norm = work.norm;
  args.sums = work.sums;
  const MixShape mix = MixShapeOf(shape);
  const unsigned blocks = MappingBlocks(shape.streams, shape.tokens);
  if (shape.kind == BoundaryKind::kHc) {
    WithStreams(shape.streams, [&](auto n) {
      HcBackwardKernel<n()><<<blocks, kMappingThreads, 0, stream>>>(args);
    });
  } else {
    WithMapping(mix, [&](auto n, auto mapping) {
      using Mapping = decltype(mapping);
      args.slots = SlotsBeside<n(), Mapping>(mix);
      MhcBackwardKernel<n(), Mapping>
          <<<blocks, kMappingThreads, HistoryBytes(args.slots), stream>>>(args);
    });
  }
  RETURN_IF_ERROR(LaunchStatus("coefficients backward"));
  AddSumsKernel<<<unsigned(3 + BiasElements(shape)), kSumThreads, 0, stream>>>(
      work.sums, blocks, gradients.alpha, gradients.bias);
  return LaunchStatus("AddSumsKernel");
}

}  // namespace birkhoff::cuda
