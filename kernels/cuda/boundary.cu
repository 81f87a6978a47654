// Boundary forward and recompute on the GPU, streaming.  In units of one C-wide row of T a token,
// at a merge of n = 4:
//
//   forward    project (boundary_projection.cu)  reads X, y, writes X           9
//              coefficients                      n C numbers do not move        0
//              read and norm                     reads X, writes norm_out       5
//   recompute  source                            reads X, y, writes X, norm_out 10
//
// Where the configuration says so the forward pass is a single one (single_pass.h): 10 units.  Where
// that one merges on the tensor cores, the source of every other pass and sink does too.
#include "kernels/boundary.h"

#include <algorithm>
#include <type_traits>

#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/boundary_path.h"
#include "kernels/cuda/device/mix.cuh"
#include "kernels/cuda/device/mixed_source.cuh"
#include "kernels/cuda/device/source.cuh"
#include "kernels/cuda/mapping_dispatch.h"
#include "kernels/cuda/single_pass_launch.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kTokenThreads = 256;   // most of a block that owns a token
constexpr int kMatrixThreads = 128;  // a token is a thread

// X of a token, and norm_out where it is wanted and its scale is known.  A block owns a token, a
// thread a few of its channels.  grid: tokens; shared: none.  One pass.
template <int N, typename T>
__global__ __launch_bounds__(kTokenThreads) void SourceKernel(BoundaryRecomputeArgs<T> args,
                                                              bool vector) {
  const int64_t C = args.shape.channels, t = blockIdx.x;
  float weight[N], inverse = 0.0f;
  if (args.norm_out != nullptr) {
    ReadWeights<N>(args.sink, args.contract, args.coefficients, t, weight);
    inverse = args.norm_inv_rms[t];
  }
  for (int64_t c = threadIdx.x * kLanes<T>; c < C; c += blockDim.x * kLanes<T>) {
    const StreamLanes<N, T> x = SourceStreams<N>(args.source, args.x, C, t, c, vector);
    if (args.source.kind != BoundarySource::kReceived) {
      StoreStreams(x, C, c, vector, args.x + t * N * C);
    }
    if (args.norm_out == nullptr) continue;
    const Lanes<T> gamma = LoadFloats<T>(args.gamma + c, C - c);
    StorePack(Round(Scale(Read<N>(weight, x), inverse, gamma)), C - c, vector,
              args.norm_out + t * C + c);
  }
}

// The same at a merge, with the bits of device/mixed_forward.cuh.  A block owns a group of tokens, a
// warp 32 channels at a time.  grid: tokens / group; shared: MixedSourceBytes a warp.  One pass.
template <int N>
__global__ __launch_bounds__(kMixedSourceWarps * 32) void MixedSourceKernel(MixedSourceArgs args) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) unsigned char tiles[];
  MixedSource<N>(args, tiles).Run();
#else
  __trap();
#endif
}

// The sink of the forward pass: u (or h), 1 / rms, norm_out.  A block owns a token, a thread a few
// of its channels.  grid: tokens; shared: u in float, C rounded up to whole lanes, where `cached`.
// X is read once, or twice where a row does not fit.
template <int N, typename T>
__global__ __launch_bounds__(kTokenThreads) void ReadNormKernel(BoundaryForwardArgs<T> args,
                                                                bool vector, bool cached) {
  extern __shared__ float row[];
  __shared__ float scratch[kTokenThreads / 32];
  constexpr int kWidth = kLanes<T>;
  const int64_t C = args.shape.channels, t = blockIdx.x;
  const T* x = args.x + t * N * C;
  float weight[N], squares[1] = {0.0f};
  ReadWeights<N>(args.sink, args.contract, args.coefficients, t, weight);

  // Sweep 1: mean square.
  for (int64_t c = threadIdx.x * kWidth; c < C; c += blockDim.x * kWidth) {
    const Lanes<T> u = Read<N>(weight, LoadStreams<N>(x, C, c, vector));
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      squares[0] = fmaf(u.at[k], u.at[k], squares[0]);
      if (cached) row[c + k] = u.at[k];
    }
    if (args.sink == BoundarySink::kHead) {
      StorePack(Round(u), C - c, vector, args.contracted + t * C + c);
    }
  }
  MixBlockSum(squares, scratch);
  const float inverse = 1.0f / sqrtf(squares[0] / float(C) + float(args.shape.norm_eps));
  if (threadIdx.x == 0) args.norm_inv_rms[t] = inverse;

  // Sweep 2: scale what this thread has read.
  for (int64_t c = threadIdx.x * kWidth; c < C; c += blockDim.x * kWidth) {
    Lanes<T> u;
    if (cached) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) u.at[k] = row[c + k];
    } else {
      u = Read<N>(weight, LoadStreams<N>(x, C, c, vector));
    }
    const Lanes<T> gamma = LoadFloats<T>(args.parameters.gamma + c, C - c);
    StorePack(Round(Scale(u, inverse, gamma)), C - c, vector, args.norm_out + t * C + c);
  }
}

// left right of every token, summed in double; I where a side is missing.  A thread owns a token
// and reads its own first, so the result may lie over either side.  grid: tokens / kMatrixThreads;
// shared: none.
template <int N>
__global__ __launch_bounds__(kMatrixThreads) void MatrixProductKernel(int64_t tokens,
                                                                      TokenMatrices left,
                                                                      TokenMatrices right,
                                                                      float* out) {
  const int64_t t = int64_t{blockIdx.x} * kMatrixThreads + threadIdx.x;
  if (t >= tokens) return;
  float a[N * N], b[N * N];
#pragma unroll
  for (int k = 0; k < N * N; ++k) {
    const float one = k / N == k % N ? 1.0f : 0.0f;
    a[k] = left.first == nullptr ? one : left.first[t * left.stride + k];
    b[k] = right.first == nullptr ? one : right.first[t * right.stride + k];
  }
#pragma unroll
  for (int k = 0; k < N * N; ++k) {
    double sum = 0.0;
#pragma unroll
    for (int m = 0; m < N; ++m) sum = fma(double(a[k / N * N + m]), double(b[m * N + k % N]), sum);
    out[t * N * N + k] = float(sum);
  }
}

// Whether X of the merge is to be made on the tensor cores.  Forward streams where the GPU has no room
// for its kernel, and so must who makes the same X.
absl::StatusOr<bool> MergesMixed(const BoundaryRecomputeArgs<bf16>& args, BoundaryPath path) {
  if (args.source.kind != BoundarySource::kMerge) return false;
  ASSIGN_OR_RETURN(const int capability, ComputeCapability());
  const BoundaryConfig config =
      MergeConfig({.shape = args.shape,
                   .source = args.source.kind,
                   .aligned = MovesPacks(args.shape.channels,
                                         {args.x, args.source.x, args.source.y, args.norm_out}),
                   .compute_capability = capability},
                  path);
  if (!config.mixed) return false;
  ASSIGN_OR_RETURN(const KernelResidence residence, ForwardResidence(config, /*merge=*/true));
  return residence.clusters > 0;
}

absl::Status RunMixedSource(const BoundaryRecomputeArgs<bf16>& from, StreamHandle stream) {
  MixedSourceArgs args;
  args.tokens = from.shape.tokens;
  args.channels = int(from.shape.channels);
  args.x_below = from.source.x;
  args.y = from.source.y;
  args.coefficients_below = from.source.coefficients;
  args.x = from.x;
  args.norm_out = from.norm_out;
  if (from.sink == BoundarySink::kHead) {
    args.weight = from.contract == StreamContract::kMean ? 1.0f / float(from.shape.streams) : 1.0f;
  } else {
    args.coefficients = from.coefficients;
  }
  args.norm_inv_rms = from.norm_inv_rms;
  args.gamma = from.gamma;
  const int64_t group = MixShapeOfStreams(from.shape.streams).group;
  const auto grid = unsigned(CeilDivide(args.tokens, group));
  const int warps = int(std::min<int64_t>(kMixedSourceWarps,
                                          CeilDivide(from.shape.channels, int64_t{kWarpChannels})));
  WithStreams(from.shape.streams, [&](auto n) {
    if constexpr (n() >= 2 && n() <= 4) {
      MixedSourceKernel<n()>
          <<<grid, unsigned(warps) * 32, size_t(warps * MixedSourceBytes(n())), stream>>>(args);
    }
  });
  return LaunchStatus("MixedSourceKernel");
}

template <typename T>
absl::Status RunSource(const BoundaryRecomputeArgs<T>& args, StreamHandle stream,
                       BoundaryPath path) {
  if constexpr (std::is_same_v<T, bf16>) {
    ASSIGN_OR_RETURN(const bool mixed, MergesMixed(args, path));
    if (mixed) return RunMixedSource(args, stream);
  }
  const int64_t C = args.shape.channels;
  const BoundarySourceArgs<T>& source = args.source;
  const bool vector = MovesPacks(C, {args.x, source.embedding, source.x, source.y, args.norm_out});
  const int threads = TokenThreads(C, kLanes<T>, kTokenThreads);
  WithStreams(args.shape.streams, [&](auto n) {
    SourceKernel<n(), T><<<unsigned(args.shape.tokens), threads, 0, stream>>>(args, vector);
  });
  return LaunchStatus("SourceKernel");
}

template <typename T>
absl::Status RunPrefix(const BoundaryForwardArgs<T>& args, StreamHandle stream) {
  if (args.prefix == nullptr || args.source.kind == BoundarySource::kReceived) {
    return absl::OkStatus();
  }
  if (args.source.kind == BoundarySource::kEmbed) {
    return MultiplyMatrices(args.shape, {}, {}, args.prefix, stream);
  }
  return MultiplyMatrices(args.shape, ResidualMatrices(args.shape, args.source.coefficients),
                          {args.prefix_below, args.shape.streams * args.shape.streams}, args.prefix,
                          stream);
}

template <typename T>
absl::Status RunReadNorm(BoundaryForwardArgs<T> args, StreamHandle stream) {
  constexpr int64_t kMostShared = 40 * 1024;  // of 48 KB; beyond 10240 channels X is read twice
  const int64_t C = args.shape.channels;
  if (args.shape.kind == BoundaryKind::kResidual) args.coefficients = nullptr;
  const int64_t bytes = (C + kLanes<T> - 1) / kLanes<T> * kLanes<T> * int64_t{sizeof(float)};
  const bool cached = bytes <= kMostShared;
  const bool vector = MovesPacks(C, {args.x, args.norm_out, args.contracted});
  const int threads = TokenThreads(C, kLanes<T>, kTokenThreads);
  WithStreams(args.shape.streams, [&](auto n) {
    ReadNormKernel<n(), T>
        <<<unsigned(args.shape.tokens), threads, cached ? size_t(bytes) : 0, stream>>>(args, vector,
                                                                                       cached);
  });
  return LaunchStatus("ReadNormKernel");
}

absl::StatusOr<BoundaryConfig> ForwardConfig(const BoundaryForwardArgs<bf16>& args,
                                             BoundaryPath path) {
  ASSIGN_OR_RETURN(const int capability, ComputeCapability());
  const bool aligned = MovesPacks(args.shape.channels,
                                  {args.x, args.source.x, args.source.y, args.source.coefficients,
                                   args.parameters.projection, args.norm_out});
  return ConfigOf({.pass = BoundaryPass::kForward,
                   .shape = args.shape,
                   .source = args.source.kind,
                   .sink = args.sink,
                   .aligned = aligned,
                   .compute_capability = capability},
                  path);
}

}  // namespace

absl::Status MultiplyMatrices(const BoundaryShape& shape, TokenMatrices left, TokenMatrices right,
                              float* out, StreamHandle stream) {
  const int64_t tokens = shape.tokens;
  WithStreams(shape.streams, [&](auto n) {
    MatrixProductKernel<n()>
        <<<unsigned((tokens + kMatrixThreads - 1) / kMatrixThreads), kMatrixThreads, 0, stream>>>(
            tokens, left, right, out);
  });
  return LaunchStatus("MatrixProductKernel");
}

template <typename T>
absl::Status BoundaryForward(const BoundaryForwardArgs<T>& given, StreamHandle stream,
                             BoundaryPath path) {
  RETURN_IF_ERROR(Validate(given));
  BoundaryForwardArgs<T> args = given;
  const BoundaryShape& shape = args.shape;
  if (shape.tokens == 0) return absl::OkStatus();
  const bool plain = shape.kind == BoundaryKind::kResidual;
  if (plain) args.source.coefficients = nullptr;
  if constexpr (std::is_same_v<T, bf16>) {
    ASSIGN_OR_RETURN(const BoundaryConfig config, ForwardConfig(args, path));
    if (config.single_pass) {
      if (args.source.kind == BoundarySource::kEmbed) {  // once a step
        RETURN_IF_ERROR(RunPrefix(args, stream));
        RETURN_IF_ERROR(
            RunSource<T>({.shape = shape, .source = args.source, .x = args.x}, stream, path));
        args.source = {};
      }
      ASSIGN_OR_RETURN(const bool done, SinglePassForward(args, config, stream));
      if (done) return absl::OkStatus();
    }
  }
  RETURN_IF_ERROR(RunPrefix(args, stream));
  if (args.sink == BoundarySink::kSubLayer && !plain) {
    RETURN_IF_ERROR(ProjectForward(args, stream));
    RETURN_IF_ERROR(FormCoefficients(shape, FloatParameters(args.parameters), args.logits,
                                     args.coefficients, stream));
  } else if (args.source.kind != BoundarySource::kReceived) {
    RETURN_IF_ERROR(
        RunSource<T>({.shape = shape, .source = args.source, .x = args.x}, stream, path));
  }
  if (args.sink == BoundarySink::kNone) return absl::OkStatus();
  return RunReadNorm(args, stream);
}

template <typename T>
absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<T>& given, StreamHandle stream,
                               BoundaryPath path) {
  RETURN_IF_ERROR(Validate(given));
  BoundaryRecomputeArgs<T> args = given;
  if (args.sink == BoundarySink::kNone) args.norm_out = nullptr;
  if (args.shape.kind == BoundaryKind::kResidual) {
    args.coefficients = args.source.coefficients = nullptr;
  }
  const bool idle = args.source.kind == BoundarySource::kReceived && args.norm_out == nullptr;
  if (args.shape.tokens == 0 || idle) return absl::OkStatus();
  return RunSource(args, stream, path);
}

template <typename T>
absl::Status BoundaryForward(const BoundaryForwardArgs<T>& args, StreamHandle stream) {
  return BoundaryForward(args, stream, BoundaryPath::kChosen);
}
template <typename T>
absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<T>& args, StreamHandle stream) {
  return BoundaryRecompute(args, stream, BoundaryPath::kChosen);
}

template absl::Status BoundaryForward(const BoundaryForwardArgs<float>&, StreamHandle);
template absl::Status BoundaryForward(const BoundaryForwardArgs<bf16>&, StreamHandle);
template absl::Status BoundaryForward(const BoundaryForwardArgs<float>&, StreamHandle,
                                      BoundaryPath);
template absl::Status BoundaryForward(const BoundaryForwardArgs<bf16>&, StreamHandle, BoundaryPath);
template absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<float>&, StreamHandle);
template absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<bf16>&, StreamHandle);
template absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<float>&, StreamHandle,
                                        BoundaryPath);
template absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<bf16>&, StreamHandle,
                                        BoundaryPath);

}  // namespace birkhoff::cuda
