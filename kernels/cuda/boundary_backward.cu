// Boundary backward on the GPU, streaming.  In units of one C-wide row of T a token, at n = 4:
//
//   dots       gradients of the coefficients     reads dX_{l+1}, X, y, dnorm                10
//   coefficients (boundary_coefficients.cu)      n C numbers do not move                     0
//   combine    (boundary_combine.cu)             reads dX_{l+1}, X, dnorm, writes dX, dy    14
//
// A head, and an embedding, come once a step and are plainer.
#include <type_traits>

#include "core/base/rounding.h"
#include "core/base/status_macros.h"
#include "kernels/boundary.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/boundary_path.h"
#include "kernels/cuda/device/mix.cuh"
#include "kernels/cuda/mapping_dispatch.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kDotThreads = 128;    // few warps: 29 sums a warp go through the exchange
constexpr int kTokenThreads = 256;  // most of a block that owns a token
constexpr int kFlatThreads = 256;   // a thread is a token, or a channel

// Sums over channels of one token.
template <int N>
struct Dots {
  static constexpr int kCount = N * N + 3 * N + 1;
  // H_res gradients [N, N], H_post gradients [N], g . x_j [N], u . x_j [N], g . u, where
  // g = gamma dnorm.
  float at[kCount] = {};
};

// A few channels more.
template <int N, typename T>
__device__ inline void AddDots(const StreamLanes<N, T>& above, const StreamLanes<N, T>& x,
                               const Lanes<T>& y, const Lanes<T>& u, const Lanes<T>& g,
                               Dots<N>& dots) {
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) {
    float& normal = dots.at[Dots<N>::kCount - 1];
    normal = fmaf(g.at[k], u.at[k], normal);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float a = above.stream[i].at[k], xi = x.stream[i].at[k];
#pragma unroll
      for (int j = 0; j < N; ++j) {
        dots.at[i * N + j] = fmaf(a, x.stream[j].at[k], dots.at[i * N + j]);
      }
      dots.at[N * N + i] = fmaf(a, y.at[k], dots.at[N * N + i]);
      dots.at[N * N + N + i] = fmaf(g.at[k], xi, dots.at[N * N + N + i]);
      dots.at[N * N + 2 * N + i] = fmaf(u.at[k], xi, dots.at[N * N + 2 * N + i]);
    }
  }
}

// dH_pre[j] = du . x_j, dH_post[i] = dX_i . y, dH_res[i][j] = dX_i . x_j, and the mean that the
// norm's backward pass subtracts.  du = inv (g - inv u mean), so du . x_j needs no second pass.
// A block owns a token.  grid: tokens; shared: Dots a warp.  Every row is read once.
template <int N, typename T>
__global__ __launch_bounds__(kDotThreads) void DotsKernel(BoundaryBackwardArgs<T> args,
                                                          BoundaryWorkspace work, bool vector) {
  constexpr int kStride = 2 * N + N * N, kCount = Dots<N>::kCount;
  __shared__ float scratch[kDotThreads / 32 * kCount];
  const int64_t C = args.shape.channels, t = blockIdx.x, token = t * N * C;
  float weight[N];
  LoadCoefficients(args.coefficients + t * kStride, weight);
  Dots<N> dots;
  // All sums over channels, in one sweep.
  for (int64_t c = threadIdx.x * kLanes<T>; c < C; c += blockDim.x * kLanes<T>) {
    const StreamLanes<N, T> x = LoadStreams<N>(args.x + token, C, c, vector);
    const StreamLanes<N, T> above = LoadStreams<N>(args.dx_above + token, C, c, vector);
    const Lanes<T> y = LoadLanes(args.y + t * C + c, C - c, vector);
    Lanes<T> g = LoadLanes(args.dnorm + t * C + c, C - c, vector);
    const Lanes<T> gamma = LoadFloats<T>(args.parameters.gamma + c, C - c);
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) g.at[k] *= gamma.at[k];
    AddDots<N>(above, x, y, Read<N>(weight, x), g, dots);
  }
  MixBlockSum(dots.at, scratch);
  if (threadIdx.x > 0) return;
  // One thread: the mean, then the gradients that are made of the sums.
  const float inverse = args.norm_inv_rms[t];
  const float mean = inverse * dots.at[kCount - 1] / float(C);
  work.mean[t] = mean;
  float* out = work.dcoefficients + t * kStride;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const float gx = dots.at[N * N + N + j], ux = dots.at[N * N + 2 * N + j];
    out[j] = inverse * fmaf(-inverse * mean, ux, gx);
    out[N + j] = dots.at[N * N + j];
  }
#pragma unroll
  for (int k = 0; k < N * N; ++k) out[2 * N + k] = dots.at[k];
}

// dX of a head: every stream gets its weight of dh.  A block owns a token.  grid: tokens; shared:
// one float a warp.  Reads h and dnorm twice (the second time from a cache), writes n rows.
template <int N, typename T>
__global__ __launch_bounds__(kTokenThreads) void HeadKernel(BoundaryBackwardArgs<T> args,
                                                            bool vector) {
  __shared__ float scratch[kTokenThreads / 32];
  const int64_t C = args.shape.channels, t = blockIdx.x, row = t * C;
  const float inverse = args.norm_inv_rms[t];
  const float weight = args.contract == StreamContract::kMean ? 1.0f / N : 1.0f;
  // Sweep 1: the mean that the norm's backward pass subtracts.
  float sum[1] = {0.0f};
  for (int64_t c = threadIdx.x * kLanes<T>; c < C; c += blockDim.x * kLanes<T>) {
    const Lanes<T> h = LoadLanes(args.contracted + row + c, C - c, vector);
    const Lanes<T> dnorm = LoadLanes(args.dnorm + row + c, C - c, vector);
    const Lanes<T> gamma = LoadFloats<T>(args.parameters.gamma + c, C - c);
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) {
      sum[0] = fmaf(gamma.at[k] * dnorm.at[k], h.at[k] * inverse, sum[0]);
    }
  }
  MixBlockSum(sum, scratch);
  // Sweep 2: dh, to every stream.
  const float mean = sum[0] / float(C);
  for (int64_t c = threadIdx.x * kLanes<T>; c < C; c += blockDim.x * kLanes<T>) {
    const Lanes<T> h = LoadLanes(args.contracted + row + c, C - c, vector);
    const Lanes<T> dnorm = LoadLanes(args.dnorm + row + c, C - c, vector);
    const Lanes<T> gamma = LoadFloats<T>(args.parameters.gamma + c, C - c);
    StreamLanes<N, T> dx;
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) {
      const float dh = inverse * fmaf(gamma.at[k], dnorm.at[k], -(h.at[k] * inverse) * mean);
#pragma unroll
      for (int j = 0; j < N; ++j) dx.stream[j].at[k] = weight * dh;
    }
    StoreStreams(dx, C, c, vector, args.dx + t * N * C);
  }
}

// A head's dgamma.  A thread owns a channel, a block a chunk of tokens, added in order.
// grid: (C / kFlatThreads, chunks); shared: none.
template <typename T>
__global__ __launch_bounds__(kFlatThreads) void HeadGammaKernel(BoundaryBackwardArgs<T> args,
                                                                int64_t chunk_tokens,
                                                                float* partials) {
  const int64_t C = args.shape.channels, chunk = blockIdx.y;
  const int64_t c = int64_t{blockIdx.x} * kFlatThreads + threadIdx.x;
  if (c >= C) return;
  const int64_t end = min(args.shape.tokens, (chunk + 1) * chunk_tokens);
  float sum = 0.0f;
  for (int64_t t = chunk * chunk_tokens; t < end; ++t) {
    const float h = Load(args.contracted[t * C + c]) * args.norm_inv_rms[t];
    sum = fmaf(Load(args.dnorm[t * C + c]), h, sum);
  }
  partials[chunk * C + c] = sum;
}

// dy_below = H_post dX where dX stands in memory.  A block owns a token.  grid: tokens; shared:
// none.  Reads n rows, writes one.
template <int N, typename T>
__global__ __launch_bounds__(kTokenThreads) void MergeBackwardKernel(BoundaryBackwardArgs<T> args,
                                                                     bool vector) {
  const int64_t C = args.shape.channels, t = blockIdx.x;
  float post[N];
  const float* h = args.coefficients_below;
  LoadCoefficients(h == nullptr ? h : h + t * (2 * N + N * N) + N, post);
  for (int64_t c = threadIdx.x * kLanes<T>; c < C; c += blockDim.x * kLanes<T>) {
    const StreamLanes<N, T> dx = LoadStreams<N>(args.dx + t * N * C, C, c, vector);
    StorePack(Round(Read<N>(post, dx)), C - c, vector, args.dy_below + t * C + c);
  }
}

// The chains of tokens of one id: next[t] is the token after t with the id of t, or -1, and
// later[next[t]] = 1, which no other thread writes.  A thread owns a token and looks at those
// behind it, a block's width of ids at a time from shared memory, until it has found one: at most
// tokens^2 / 2 comparisons, 16384 tokens of a large vocabulary some tens of microseconds.
__global__ __launch_bounds__(kFlatThreads) void ChainKernel(int64_t tokens, const int32_t* ids,
                                                            int32_t* next, int32_t* later) {
  __shared__ int32_t window[kFlatThreads];
  const int64_t first = int64_t{blockIdx.x} * kFlatThreads, t = first + threadIdx.x;
  const bool here = t < tokens;
  const int32_t id = here ? ids[t] : -1;
  int64_t found = -1;
  for (int64_t base = first; base < tokens; base += kFlatThreads) {
    // Also the barrier that frees the window.
    if (__syncthreads_and(!here || found >= 0)) break;
    if (base + threadIdx.x < tokens) window[threadIdx.x] = ids[base + threadIdx.x];
    __syncthreads();
    if (!here || found >= 0) continue;
    const int count = int(min(int64_t{kFlatThreads}, tokens - base));
    for (int k = base == first ? int(threadIdx.x) + 1 : 0; k < count; ++k) {
      if (window[k] != id) continue;
      found = base + k;
      break;
    }
  }
  if (!here) return;
  next[t] = int32_t(found);
  if (found >= 0) later[found] = 1;
}

// What one token gives its embedding: the sum of its streams, or its first alone.
template <int N, typename T>
__device__ inline Lanes<T> EmbeddingShare(const BoundaryBackwardArgs<T>& args, int64_t t, int64_t c,
                                          bool vector) {
  const int64_t C = args.shape.channels;
  const T* dx = args.dx + t * N * C + c;
  Lanes<T> sum = LoadLanes(dx, C - c, vector);
#pragma unroll
  for (int j = 1; j < N; ++j) {
    if (args.expand != StreamExpand::kCopy) continue;
    const Lanes<T> stream = LoadLanes(dx + j * C, C - c, vector);
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) sum.at[k] += stream.at[k];
  }
  return sum;
}

// dembedding[id] += sum over its tokens, ascending.  The block of an id's first token owns the row
// and walks the chain, the next token's rows on their way while it adds one's; the others leave at
// once.  grid: tokens; shared: none.  dX is read once (one stream of it where the expansion is
// one-hot).
template <int N, typename T>
__global__ __launch_bounds__(kTokenThreads) void EmbedBackwardKernel(BoundaryBackwardArgs<T> args,
                                                                     const int32_t* next,
                                                                     const int32_t* later,
                                                                     bool vector) {
  const int64_t C = args.shape.channels, first = blockIdx.x;
  if (later[first] != 0) return;
  float* row = args.dembedding + int64_t{args.ids[first]} * C;
  for (int64_t c = threadIdx.x * kLanes<T>; c < C; c += blockDim.x * kLanes<T>) {
    Lanes<T> sum = {}, share = EmbeddingShare<N>(args, first, c, vector);
    for (int64_t t = next[first]; t >= 0; t = next[t]) {
      const Lanes<T> coming = EmbeddingShare<N>(args, t, c, vector);
#pragma unroll
      for (int k = 0; k < kLanes<T>; ++k) sum.at[k] += share.at[k];
      share = coming;
    }
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) {
      if (c + k < C) row[c + k] += sum.at[k] + share.at[k];
    }
  }
}

unsigned FlatBlocks(int64_t count) { return unsigned((count + kFlatThreads - 1) / kFlatThreads); }

template <typename T>
absl::Status RunDots(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                     StreamHandle stream) {
  const int64_t C = args.shape.channels;
  const bool vector = MovesPacks(C, {args.dx_above, args.x, args.y, args.dnorm});
  const int threads = TokenThreads(C, kLanes<T>, kDotThreads);
  const unsigned blocks = unsigned(args.shape.tokens);
  WithStreams(args.shape.streams, [&](auto n) {
    DotsKernel<n(), T><<<blocks, threads, 0, stream>>>(args, work, vector);
  });
  return LaunchStatus("DotsKernel");
}

template <typename T>
absl::Status RunSuffix(const BoundaryBackwardArgs<T>& args, StreamHandle stream) {
  if (args.suffix == nullptr || args.sink == BoundarySink::kNone) return absl::OkStatus();
  if (args.sink == BoundarySink::kHead) {
    return MultiplyMatrices(args.shape, {}, {}, args.suffix, stream);
  }
  return MultiplyMatrices(args.shape, {args.suffix_above, args.shape.streams * args.shape.streams},
                          ResidualMatrices(args.shape, args.coefficients), args.suffix, stream);
}

absl::StatusOr<BoundaryConfig> BackwardConfig(const BoundaryBackwardArgs<bf16>& args,
                                              BoundaryPath path) {
  ASSIGN_OR_RETURN(const int capability, ComputeCapability());
  const bool aligned =
      MovesPacks(args.shape.channels, {args.dx_above, args.x, args.y, args.dnorm, args.coefficients,
                                       args.parameters.gamma, args.coefficients_below,
                                       args.parameters.projection, args.dx, args.dy_below});
  return ConfigOf({.pass = BoundaryPass::kBackward,
                   .shape = args.shape,
                   .source = args.source,
                   .sink = args.sink,
                   .aligned = aligned,
                   .compute_capability = capability},
                  path, ChunksOf(args.shape).count);
}

template <typename T>
absl::Status SubLayerBackward(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                              BoundaryPath path, StreamHandle stream) {
  if constexpr (std::is_same_v<T, bf16>) {
    ASSIGN_OR_RETURN(const BoundaryConfig config, BackwardConfig(args, path));
    if (config.single_pass) {
      ASSIGN_OR_RETURN(const bool done, SinglePassBackward(args, config, work, stream));
      if (done) return absl::OkStatus();
    }
  }
  RETURN_IF_ERROR(RunSuffix(args, stream));
  if (args.shape.kind == BoundaryKind::kResidual) return PlainBackward(args, work, stream);
  RETURN_IF_ERROR(RunDots(args, work, stream));
  RETURN_IF_ERROR(BackCoefficients(args.shape, FloatParameters(args.parameters),
                                   FloatGradients(args.gradients), args.coefficients, args.logits,
                                   args.equal_streams, work, stream));
  return CombineGradients(args, work, stream);
}

template <typename T>
absl::Status HeadBackward(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                          StreamHandle stream) {
  RETURN_IF_ERROR(RunSuffix(args, stream));
  const int64_t C = args.shape.channels;
  const TokenChunks chunks = ChunksOf(args.shape);
  const bool vector = MovesPacks(C, {args.contracted, args.dnorm, args.dx});
  const int threads = TokenThreads(C, kLanes<T>, kTokenThreads);
  WithStreams(args.shape.streams, [&](auto n) {
    HeadKernel<n(), T><<<unsigned(args.shape.tokens), threads, 0, stream>>>(args, vector);
  });
  RETURN_IF_ERROR(LaunchStatus("HeadKernel"));
  HeadGammaKernel<T><<<dim3(FlatBlocks(C), unsigned(chunks.count)), kFlatThreads, 0, stream>>>(
      args, chunks.tokens, work.gamma);
  RETURN_IF_ERROR(LaunchStatus("HeadGammaKernel"));
  return AddPartials(work.gamma, chunks.count, C, args.gradients.gamma, stream);
}

template <typename T>
absl::Status MergeBackward(const BoundaryBackwardArgs<T>& args, StreamHandle stream) {
  const int64_t C = args.shape.channels;
  const bool vector = MovesPacks(C, {args.dx, args.dy_below});
  const int threads = TokenThreads(C, kLanes<T>, kTokenThreads);
  WithStreams(args.shape.streams, [&](auto n) {
    MergeBackwardKernel<n(), T><<<unsigned(args.shape.tokens), threads, 0, stream>>>(args, vector);
  });
  return LaunchStatus("MergeBackwardKernel");
}

template <typename T>
absl::Status EmbedBackward(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                           StreamHandle stream) {
  const int64_t C = args.shape.channels, tokens = args.shape.tokens;
  const cudaError_t cleared =
      cudaMemsetAsync(work.later, 0, size_t(tokens) * sizeof(*work.later), stream);
  RETURN_IF_ERROR(ToStatus(cleared, "boundary backward: clearing the chains"));
  ChainKernel<<<FlatBlocks(tokens), kFlatThreads, 0, stream>>>(tokens, args.ids, work.next,
                                                               work.later);
  RETURN_IF_ERROR(LaunchStatus("ChainKernel"));
  const bool vector = MovesPacks(C, {args.dx});
  const int threads = TokenThreads(C, kLanes<T>, kTokenThreads);
  WithStreams(args.shape.streams, [&](auto n) {
    EmbedBackwardKernel<n(), T>
        <<<unsigned(tokens), threads, 0, stream>>>(args, work.next, work.later, vector);
  });
  return LaunchStatus("EmbedBackwardKernel");
}

}  // namespace

BoundaryWorkspace CutWorkspace(const BoundaryShape& shape, void* workspace) {
  BoundaryWorkspace work;
  const auto take = [&](auto** part, int64_t elements) {
    constexpr int64_t kAlign = 256;
    *part = reinterpret_cast<std::remove_reference_t<decltype(*part)>>(
        reinterpret_cast<uintptr_t>(workspace) + uintptr_t(work.bytes));
    work.bytes += RoundUp(elements * int64_t{sizeof(**part)}, kAlign);
  };
  const int64_t tokens = shape.tokens, chunks = ChunksOf(shape).count;
  const int64_t blocks = tokens == 0 ? 0
                                     : std::max<int64_t>(MappingBlocks(shape.streams, tokens),
                                                         chunks * kMostClusterBlocks);
  take(&work.dcoefficients, tokens * CoefficientsPerToken(shape));
  take(&work.mean, tokens);
  take(&work.dproducts, tokens * ProductsPerToken(shape));
  take(&work.norm, tokens * shape.streams);
  take(&work.sums, blocks * (3 + BiasElements(shape)));
  take(&work.projection, chunks * ProjectionElements(shape));
  const bool plain = shape.kind == BoundaryKind::kResidual;
  take(&work.gamma, std::max(chunks, plain ? kPlainBlocks : 0) * shape.channels);
  take(&work.next, tokens);
  take(&work.later, tokens);
  return work;
}

int64_t BoundaryWorkspaceBytes(const BoundaryShape& shape) {
  return CutWorkspace(shape, nullptr).bytes;
}

template <typename T>
absl::Status BoundaryBackward(const BoundaryBackwardArgs<T>& given, StreamHandle stream,
                              BoundaryPath path) {
  RETURN_IF_ERROR(Validate(given));
  BoundaryBackwardArgs<T> args = given;
  if (args.shape.tokens == 0) return absl::OkStatus();
  if (args.shape.kind == BoundaryKind::kResidual) {
    args.coefficients = args.coefficients_below = nullptr;
  }
  const bool embeds = args.source == BoundarySource::kEmbed;
  if (args.workspace == nullptr && (embeds || args.sink != BoundarySink::kNone)) {
    return absl::InvalidArgumentError("boundary backward: workspace is null; need a buffer");
  }
  const BoundaryWorkspace work = CutWorkspace(args.shape, args.workspace);
  if (args.sink == BoundarySink::kHead) RETURN_IF_ERROR(HeadBackward(args, work, stream));
  if (args.sink == BoundarySink::kSubLayer) {
    RETURN_IF_ERROR(SubLayerBackward(args, work, path, stream));
  }
  if (embeds) return EmbedBackward(args, work, stream);
  // A sub-layer's combining kernel has made dy_below as it made dX.
  const bool merged = args.sink == BoundarySink::kSubLayer;
  if (args.source == BoundarySource::kMerge && !merged) return MergeBackward(args, stream);
  return absl::OkStatus();
}

template <typename T>
absl::Status BoundaryBackward(const BoundaryBackwardArgs<T>& args, StreamHandle stream) {
  return BoundaryBackward(args, stream, BoundaryPath::kChosen);
}

template absl::Status BoundaryBackward(const BoundaryBackwardArgs<float>&, StreamHandle);
template absl::Status BoundaryBackward(const BoundaryBackwardArgs<bf16>&, StreamHandle);
template absl::Status BoundaryBackward(const BoundaryBackwardArgs<float>&, StreamHandle,
                                       BoundaryPath);
template absl::Status BoundaryBackward(const BoundaryBackwardArgs<bf16>&, StreamHandle,
                                       BoundaryPath);

}  // namespace birkhoff::cuda
