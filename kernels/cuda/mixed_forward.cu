// The forward boundary in a single pass that merges on the tensor cores: launches
// device/mixed_forward.cuh.
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/mixed_forward.cuh"
#include "kernels/cuda/single_pass_launch.h"

namespace birkhoff::cuda {
namespace {

// A cluster owns every so many tiles of 16 tokens.  grid: whole clusters, as many as are resident;
// block: two warps for every box of 64 channels and those that serve them; shared: MixedSizes.  Reads
// X and y, writes X and norm_out, once each.
template <int N, int kTiles, bool kMerge, typename Fixed>
__global__ __launch_bounds__(
    (Fixed::kMostWarps + kMixedServiceWarps) * 32,
    1) void MixedForwardKernel(const __grid_constant__ MixedForwardArgs args) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  extern __shared__ __align__(1024) unsigned char boxes[];
  MixedForward<N, kTiles, kMerge, Fixed>(args, boxes).Run();
#else
  __trap();
#endif
}

template <int N, int kTiles, bool kMerge>
SinglePassKernel<MixedForwardArgs> KernelOf(const SinglePassGeometry& geometry) {
  if constexpr (N == 4 && kTiles == 3 && kMerge) {  // the shapes that pay most
    using Wide = FixedGeometry<8, 10, kMixedStages>;
    using Narrow = FixedGeometry<8, 8, kMixedStages>;
    if (geometry == Wide::Of({})) return MixedForwardKernel<N, kTiles, kMerge, Wide>;
    if (geometry == Narrow::Of({})) return MixedForwardKernel<N, kTiles, kMerge, Narrow>;
  }
  return MixedForwardKernel<N, kTiles, kMerge, AnyGeometry<kUsualWarps>>;
}

template <bool kMerge>
SinglePassKernel<MixedForwardArgs> KernelOf(const BoundaryConfig& config) {
  const SinglePassGeometry& geometry = config.geometry;
  switch (config.columns.streams * 8 + config.columns.tiles) {
    case 2 * 8 + 1:
      return KernelOf<2, 1, kMerge>(geometry);
    case 3 * 8 + 1:
      return KernelOf<3, 1, kMerge>(geometry);
    case 3 * 8 + 2:
      return KernelOf<3, 2, kMerge>(geometry);
    case 4 * 8 + 1:
      return KernelOf<4, 1, kMerge>(geometry);
    default:
      return KernelOf<4, 3, kMerge>(geometry);
  }
}

SinglePassKernel<MixedForwardArgs> KernelOf(const BoundaryConfig& config, bool merge) {
  return merge ? KernelOf<true>(config) : KernelOf<false>(config);
}

absl::StatusOr<MixedForwardArgs> ArgsOf(const SingleForwardArgs& usual, int streams, bool merge) {
  MixedForwardArgs args;
  args.usual = usual;
  const int channels = usual.channels;
  const BoxedRows row = {
      .tokens = usual.tokens, .channels = channels, .box_tokens = kForwardTileTokens};
  const auto one = [&](const bf16* rows) {
    BoxedRows boxed = row;
    boxed.first = rows;
    return TensorMapOf(boxed);
  };
  for (int odd = 0; odd < MixShapeOfStreams(streams).half; ++odd) {
    const auto some = [&](const bf16* rows) {
      return TensorMapOf(BoxedStreams(rows, usual.tokens, streams, channels, odd));
    };
    ASSIGN_OR_RETURN(args.from[odd], some(merge ? usual.x_below : usual.x));
    if (merge) {
      ASSIGN_OR_RETURN(args.x[odd], some(usual.x));
    }
  }
  if (merge) {
    ASSIGN_OR_RETURN(args.y, one(usual.y));
  }
  ASSIGN_OR_RETURN(args.norm_out, one(usual.norm_out));
  return args;
}

}  // namespace

absl::StatusOr<int64_t> LaunchMixedForward(const SingleForwardArgs& usual,
                                           const BoundaryConfig& config, bool merge,
                                           StreamHandle stream) {
  ASSIGN_OR_RETURN(const MixedForwardArgs args, ArgsOf(usual, config.columns.streams, merge));
  return LaunchClusters(KernelOf(config, merge), config, args, stream);
}

absl::StatusOr<KernelResidence> MixedResidence(const BoundaryConfig& config, bool merge) {
  return ResidenceOf(KernelOf(config, merge), config);
}

}  // namespace birkhoff::cuda
