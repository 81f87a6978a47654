// The backward boundary in a single pass: launches device/single_backward.cuh, Sinkhorn's basis
// before it and the sums over clusters behind it.
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/single_backward.cuh"
#include "kernels/cuda/device/sinkhorn_basis.cuh"
#include "kernels/cuda/single_pass_launch.h"

namespace birkhoff::cuda {
namespace {

constexpr int kBasisThreads = 64;

// A cluster owns every so many tiles of 8 tokens.  grid: whole clusters, as many as are resident;
// block: the warps that own channels and those that serve them; shared: BackwardSizes.  Reads dX', X,
// y, dnorm, writes dX and dy_below, once each.
template <int N, int kTiles, bool kSinkhorn, int kBoxes>
__global__ __launch_bounds__(
    (kBackwardWarps + kBackwardServiceWarps) * 32,
    1) void SingleBackwardKernel(const __grid_constant__ SingleBackwardArgs args) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !defined(__CUDA_ARCH__)
  extern __shared__ __align__(1024) unsigned char shared[];
  SingleBackward<N, kTiles, kSinkhorn, kBoxes>(args, shared).Run();
#else
  __trap();
#endif
}

struct BasisArgs {
  int64_t tokens = 0;
  int iterations = 0;
  const float* logits = nullptr;
  const float* alpha = nullptr;
  const float* bias = nullptr;
  float* basis = nullptr;
};

// A thread owns a matrix of a token's basis.  grid: tokens (n - 1) / kBasisThreads; shared: n
// scalings an iteration and thread.
template <int N>
__global__ __launch_bounds__(kBasisThreads, 6) void BasisKernel(BasisArgs args) {
  extern __shared__ float scalings[];
  const int64_t i = int64_t{blockIdx.x} * kBasisThreads + threadIdx.x;
  const int64_t t = i / (N - 1);
  if (t >= args.tokens) return;
  const float* logits = args.logits + t * (2 * N + N * N + 1) + 2 * N;
  const float alpha = args.alpha[2];
  BasisMatrix<N>([&](int e) { return fmaf(alpha, logits[e], args.bias[2 * N + e]); },
                 args.iterations, int(i % (N - 1)), {kBasisThreads, scalings + threadIdx.x},
                 args.basis + i * N * N);
}

template <int N>
void LaunchBasis(const BasisArgs& args, StreamHandle stream) {
  const int64_t matrices = args.tokens * (N - 1);
  const size_t bytes = size_t(args.iterations) * N * kBasisThreads * sizeof(float);
  BasisKernel<N>
      <<<unsigned((matrices + kBasisThreads - 1) / kBasisThreads), kBasisThreads, bytes, stream>>>(
          args);
}

absl::Status FormBasis(const BoundaryBackwardArgs<bf16>& args, float* basis, StreamHandle stream) {
  const BasisArgs out = {.tokens = args.shape.tokens,
                         .iterations = args.shape.sinkhorn_iterations,
                         .logits = args.logits,
                         .alpha = args.parameters.alpha,
                         .bias = args.parameters.bias,
                         .basis = basis};
  switch (args.shape.streams) {
    case 2:
      LaunchBasis<2>(out, stream);
      break;
    case 3:
      LaunchBasis<3>(out, stream);
      break;
    default:
      LaunchBasis<4>(out, stream);
  }
  return LaunchStatus("BasisKernel");
}

constexpr int kSumThreads = 256;

// What clusters and blocks added up.
struct PartialSums {
  int64_t clusters = 0;
  int64_t projection_elements = 0, channels = 0;  // multiples of 4
  const float* projection = nullptr;              // [clusters, projection_elements]
  const float* gamma = nullptr;                   // [clusters, channels]
  float* dprojection = nullptr;
  float* dgamma = nullptr;
  int64_t blocks = 0;
  int columns = 0;
  const float* sums = nullptr;  // [blocks, 3 + columns]
  float* dalpha = nullptr;
  float* dbias = nullptr;
};

__device__ void AddFour(const float* partials, int64_t count, int64_t elements, int64_t i,
                        float* sums) {
  float4 sum = {};
#pragma unroll 4
  for (int64_t k = 0; k < count; ++k) {
    const float4 part = *reinterpret_cast<const float4*>(partials + k * elements + i);
    sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
  }
  sums[i] += sum.x, sums[i + 1] += sum.y, sums[i + 2] += sum.z, sums[i + 3] += sum.w;
}

// A thread owns four elements of dprojection or dgamma and adds the clusters in order; the last
// blocks own one element of dalpha or dbias each: thread k takes every 256th row, in double, then a
// fixed tree.  grid: BlocksOf; shared: one double a thread.
__global__ __launch_bounds__(kSumThreads) void AddSumsKernel(PartialSums args,
                                                             int64_t flat_blocks) {
  __shared__ double partial[kSumThreads];
  if (int64_t{blockIdx.x} < flat_blocks) {
    const int64_t i = 4 * (int64_t{blockIdx.x} * kSumThreads + threadIdx.x);
    const int64_t of_gamma = i - args.projection_elements;
    if (of_gamma < 0) {
      AddFour(args.projection, args.clusters, args.projection_elements, i, args.dprojection);
    } else if (of_gamma < args.channels) {
      AddFour(args.gamma, args.clusters, args.channels, of_gamma, args.dgamma);
    }
    return;
  }
  const int value = int(int64_t{blockIdx.x} - flat_blocks), values = 3 + args.columns;
  double sum = 0.0;
  for (int64_t b = threadIdx.x; b < args.blocks; b += kSumThreads) {
    sum += args.sums[b * values + value];
  }
  partial[threadIdx.x] = sum;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (int(threadIdx.x) < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x > 0) return;
  float* out = value < 3 ? args.dalpha + value : args.dbias + value - 3;
  *out += float(partial[0]);
}

absl::Status AddSums(const BoundaryBackwardArgs<bf16>& args, const BoundaryWorkspace& work,
                     int64_t clusters, int cluster, StreamHandle stream) {
  const PartialSums sums = {.clusters = clusters,
                            .projection_elements = ProjectionElements(args.shape),
                            .channels = args.shape.channels,
                            .projection = work.projection,
                            .gamma = work.gamma,
                            .dprojection = args.gradients.projection,
                            .dgamma = args.gradients.gamma,
                            .blocks = clusters * cluster,
                            .columns = ProjectionColumns(args.shape),
                            .sums = work.sums,
                            .dalpha = args.gradients.alpha,
                            .dbias = args.gradients.bias};
  const int64_t fours = (sums.projection_elements + sums.channels) / 4;
  const int64_t flat_blocks = (fours + kSumThreads - 1) / kSumThreads;
  AddSumsKernel<<<unsigned(flat_blocks + 3 + sums.columns), kSumThreads, 0, stream>>>(sums,
                                                                                      flat_blocks);
  return LaunchStatus("AddSumsKernel");
}

template <int N, int kTiles, bool kSinkhorn>
SinglePassKernel<SingleBackwardArgs> KernelOf(int boxes) {
  static_assert(kFewestBoxes == 3 && kMostBoxes == 5);
  switch (boxes) {
    case 3:
      return SingleBackwardKernel<N, kTiles, kSinkhorn, 3>;
    case 4:
      return SingleBackwardKernel<N, kTiles, kSinkhorn, 4>;
    default:
      return SingleBackwardKernel<N, kTiles, kSinkhorn, 5>;
  }
}

SinglePassKernel<SingleBackwardArgs> KernelOf(const BoundaryConfig& config,
                                              const BoundaryShape& shape) {
  const bool sinkhorn = shape.mapping == MappingKind::kSinkhorn;
  const int boxes = config.geometry.boxes;
  switch (config.columns.streams) {
    case 2:
      return sinkhorn ? KernelOf<2, 1, true>(boxes) : KernelOf<2, 1, false>(boxes);
    case 3:
      return sinkhorn ? KernelOf<3, 2, true>(boxes) : KernelOf<3, 1, false>(boxes);
    default:
      return sinkhorn ? KernelOf<4, 3, true>(boxes) : KernelOf<4, 1, false>(boxes);
  }
}

absl::StatusOr<SingleBackwardArgs> ArgsOf(const BoundaryBackwardArgs<bf16>& args,
                                          const BoundaryConfig& config,
                                          const BoundaryWorkspace& work) {
  const auto map_of = [&](const bf16* first, int streams) {
    return TensorMapOf({.first = first,
                        .tokens = args.shape.tokens,
                        .streams = streams,
                        .channels = int(args.shape.channels),
                        .box_tokens = kBackwardTileTokens});
  };
  const int streams = args.shape.streams;
  SingleBackwardArgs out;
  out.tokens = args.shape.tokens;
  out.channels = int(args.shape.channels);
  out.columns = ProjectionColumns(args.shape);
  out.geometry = config.geometry;
  ASSIGN_OR_RETURN(out.dx_above, map_of(args.dx_above, streams));
  ASSIGN_OR_RETURN(out.x, map_of(args.x, streams));
  ASSIGN_OR_RETURN(out.dx, map_of(args.dx, streams));
  ASSIGN_OR_RETURN(out.y, map_of(args.y, 1));
  ASSIGN_OR_RETURN(out.dnorm, map_of(args.dnorm, 1));
  out.norm_inv_rms = args.norm_inv_rms;
  out.coefficients = args.coefficients;
  out.logits = args.logits;
  out.basis = work.basis();
  out.equal_streams = args.equal_streams;
  out.projection = args.parameters.projection;
  out.alpha = args.parameters.alpha;
  out.bias = args.parameters.bias;
  out.gamma = args.parameters.gamma;
  out.suffix_above = args.suffix_above;
  out.suffix = args.suffix;
  if (args.source == BoundarySource::kMerge) {
    out.coefficients_below = args.coefficients_below;
    ASSIGN_OR_RETURN(out.dy_below, map_of(args.dy_below, 1));
  }
  out.projection_partials = work.projection;
  out.gamma_partials = work.gamma;
  out.sums = work.sums;
  return out;
}

}  // namespace

absl::StatusOr<bool> SinglePassBackward(const BoundaryBackwardArgs<bf16>& args,
                                        const BoundaryConfig& config, const BoundaryWorkspace& work,
                                        StreamHandle stream) {
  const auto kernel = KernelOf(config, args.shape);
  ASSIGN_OR_RETURN(const KernelResidence residence, ResidenceOf(kernel, config));
  if (residence.clusters == 0) return false;
  if (args.shape.mapping == MappingKind::kSinkhorn) {
    RETURN_IF_ERROR(FormBasis(args, work.basis(), stream));
  }
  ASSIGN_OR_RETURN(const SingleBackwardArgs kernel_args, ArgsOf(args, config, work));
  ASSIGN_OR_RETURN(const int64_t clusters, LaunchClusters(kernel, config, kernel_args, stream));
  RETURN_IF_ERROR(AddSums(args, work, clusters, config.geometry.cluster, stream));
  return true;
}

absl::StatusOr<KernelResidence> BackwardResidence(const BoundaryConfig& config,
                                                  const BoundaryShape& shape) {
  return ResidenceOf(KernelOf(config, shape), config);
}

absl::StatusOr<int> ComputeCapability() {
  int device = 0, major = 0, minor = 0;
  RETURN_IF_ERROR(ToStatus(cudaGetDevice(&device), "compute capability"));
  RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
               "compute capability"));
  RETURN_IF_ERROR(
      ToStatus(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device),
               "compute capability"));
  return 10 * major + minor;
}

}  // namespace birkhoff::cuda
