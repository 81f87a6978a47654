// The forward boundary in a single pass: launches device/single_forward.cuh, or by mixed_forward.cu
// the kernel that merges on the tensor cores.
#include <type_traits>

#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/single_forward.cuh"
#include "kernels/cuda/single_pass_launch.h"

namespace birkhoff::cuda {
namespace {

// A cluster owns every so many tiles of 16 tokens.  grid: whole clusters, as many as are resident;
// block: the warps that own channels and those that serve them; shared: ForwardSizes.  Reads X and y, writes X and norm_out, once each.
template <int N, int kTiles, bool kPerRow, bool kMerge, typename Fixed>
__global__ __launch_bounds__((Fixed::kMostWarps + kServiceWarps) * 32, 1) void SingleForwardKernel(
    const __grid_constant__ SingleForwardArgs args) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  extern __shared__ __align__(16) unsigned char shared[];
  SingleForward<N, kTiles, kPerRow, kMerge, Fixed>(args, shared).Run();
#else
  __trap();
#endif
}

template <int N, int kTiles, bool kPerRow, bool kMerge>
SinglePassKernel<SingleForwardArgs> KernelOf(const SinglePassGeometry& geometry) {
  if (geometry.warps <= kUsualWarps) {
    return SingleForwardKernel<N, kTiles, kPerRow, kMerge, AnyGeometry<kUsualWarps>>;
  }
  return SingleForwardKernel<N, kTiles, kPerRow, kMerge, AnyGeometry<kMostWarps>>;
}

template <int N, bool kMerge>
SinglePassKernel<SingleForwardArgs> KernelOf(const BoundaryConfig& config) {
  const SinglePassGeometry& geometry = config.geometry;
  if constexpr (N == 1) {
    return KernelOf<N, 0, false, kMerge>(geometry);
  } else {
    if (config.columns.per_row) return KernelOf<N, 1, true, kMerge>(geometry);
    if constexpr (N == 3) {
      if (config.columns.tiles == 2) return KernelOf<N, 2, false, kMerge>(geometry);
    }
    if constexpr (N == 4) {
      if (config.columns.tiles == 3) return KernelOf<N, 3, false, kMerge>(geometry);
      if (config.columns.tiles == 4) return KernelOf<N, 4, false, kMerge>(geometry);
    }
    return KernelOf<N, 1, false, kMerge>(geometry);
  }
}

template <bool kMerge>
SinglePassKernel<SingleForwardArgs> KernelOf(const BoundaryConfig& config) {
  switch (config.columns.streams) {
    case 1:
      return KernelOf<1, kMerge>(config);
    case 2:
      return KernelOf<2, kMerge>(config);
    case 3:
      return KernelOf<3, kMerge>(config);
    default:
      return KernelOf<4, kMerge>(config);
  }
}

SinglePassKernel<SingleForwardArgs> KernelOf(const BoundaryConfig& config, bool merge) {
  return merge ? KernelOf<true>(config) : KernelOf<false>(config);
}

SingleForwardArgs ArgsOf(const BoundaryForwardArgs<bf16>& args, const BoundaryConfig& config) {
  SingleForwardArgs out;
  out.tokens = args.shape.tokens;
  out.channels = int(args.shape.channels);
  out.columns = ProjectionColumns(args.shape);
  out.mix_eps = float(args.shape.mix_eps);
  out.norm_eps = float(args.shape.norm_eps);
  out.geometry = config.geometry;
  if (args.source.kind == BoundarySource::kMerge) {
    out.x_below = args.source.x;
    out.y = args.source.y;
    out.coefficients_below = args.source.coefficients;
    out.prefix_below = args.prefix_below;
    out.prefix = args.prefix;
  }
  out.x = args.x;
  out.projection = args.parameters.projection;
  out.alpha = args.parameters.alpha;
  out.bias = args.parameters.bias;
  out.gamma = args.parameters.gamma;
  out.logits = args.logits;
  out.norm_out = args.norm_out;
  out.norm_inv_rms = args.norm_inv_rms;
  return out;
}

}  // namespace

absl::StatusOr<bool> SinglePassForward(const BoundaryForwardArgs<bf16>& args,
                                       const BoundaryConfig& config, StreamHandle stream) {
  const bool merge = args.source.kind == BoundarySource::kMerge;
  const SingleForwardArgs usual = ArgsOf(args, config);
  ASSIGN_OR_RETURN(const int64_t clusters,
                   config.mixed ? LaunchMixedForward(usual, config, merge, stream)
                                : LaunchClusters(KernelOf(config, merge), config, usual, stream));
  if (clusters == 0) return false;
  if (args.shape.kind != BoundaryKind::kResidual) {
    RETURN_IF_ERROR(FormCoefficients(args.shape, FloatParameters(args.parameters), args.logits,
                                     args.coefficients, stream));
  }
  return true;
}

absl::StatusOr<KernelResidence> ForwardResidence(const BoundaryConfig& config, bool merge) {
  return config.mixed ? MixedResidence(config, merge)
                      : ResidenceOf(KernelOf(config, merge), config);
}

}  // namespace birkhoff::cuda
