// The choice between the streaming kernels and the single pass, and the shape of the latter.
#include "kernels/cuda/boundary_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/rounding.h"
#include "kernels/cuda/mixed_forward.h"

namespace birkhoff::cuda {
namespace {

constexpr int kMostCluster = 16;  // beyond 8 by the kernel's own wish
// Channels that the largest cluster holds: 16 warps a block; 5 boxes.
constexpr int64_t kMostForward = 8192, kMostBackward = kMostCluster * kMostBoxes * kBoxChannels;
constexpr int kMostHistory = 96;  // scalings of a token, n a step, that Sinkhorn's basis may keep

// What the single pass would need, or nothing.
std::string Missing(const BoundaryDesc& desc) {
  const BoundaryShape& shape = desc.shape;
  if (desc.pass == BoundaryPass::kRecompute) return "recompute is one pass as it is";
  if (desc.dtype != DType::kBfloat16) return "streams in fp32; need bf16";
  if (desc.compute_capability < 90) {
    return absl::StrCat("compute capability ", desc.compute_capability, "; need 90");
  }
  if (desc.sink != BoundarySink::kSubLayer) return "no sub-layer above; need one";
  if (shape.channels % 8 != 0) return absl::StrCat("C=", shape.channels, "; need C % 8 == 0");
  if (!desc.aligned) return "a row is not aligned; need 16 bytes";
  if (shape.streams > 4) return absl::StrCat("n=", shape.streams, "; need n <= 4");
  if (shape.tokens > (int64_t{1} << 30)) return "more than 2^30 tokens";
  const bool plain = shape.kind == BoundaryKind::kResidual;
  if (!plain && shape.streams == 1) return "n=1; need n >= 2, or a plain residual";
  const MappingTraits& mapping = TraitsOf(shape.mapping);
  const bool usual = mapping.dynamic == DynamicPart::kAll && mapping.read == ReadGate::kSigmoid;
  if (shape.kind == BoundaryKind::kMhc && !usual) {
    return absl::StrCat("mapping ", mapping.name, "; need sinkhorn");
  }
  if (desc.pass == BoundaryPass::kForward) return "";
  if (desc.compute_capability >= 100) {  // registers pass from warps to warps on Hopper alone
    return absl::StrCat("compute capability ", desc.compute_capability, "; need 90");
  }
  if (shape.kind != BoundaryKind::kMhc) return "backward of another kind; need mhc";
  if (shape.mapping != MappingKind::kSinkhorn && shape.mapping != MappingKind::kIdentity) {
    return absl::StrCat("backward of ", mapping.name, "; need sinkhorn");
  }
  if (shape.mapping == MappingKind::kSinkhorn &&
      shape.sinkhorn_iterations * shape.streams > kMostHistory) {
    return absl::StrCat("sinkhorn_iterations=", shape.sinkhorn_iterations,
                        "; need n times as many <= ", kMostHistory);
  }
  return "";
}

// Pieces of `width` channels that each block of a cluster owns.
struct Share {
  int cluster, pieces;
};
// The smallest cluster whose blocks own `most` pieces or fewer, else the largest.
Share ShareOf(int64_t channels, int width, int most) {
  Share share = {1, int(CeilDivide(channels, int64_t{width}))};
  while (share.cluster < kMostCluster && share.pieces > most) {
    share.cluster *= 2;
    share.pieces = int(CeilDivide(channels, int64_t{width} * share.cluster));
  }
  return share;
}

// Of warps that keep their registers, if there is room.
SinglePassGeometry ForwardGeometry(int64_t channels) {
  const Share warps = ShareOf(channels, kWarpChannels, kUsualWarps);
  return {warps.cluster, warps.pieces, 2};
}

SinglePassGeometry BackwardGeometry(int64_t channels) {
  const Share boxes = ShareOf(channels, kBoxChannels, kMostBoxes);
  return {boxes.cluster, kBackwardWarps, kBackwardStages, std::max(boxes.pieces, kFewestBoxes)};
}

// The merge on the tensor cores: whole boxes, two warps each.  False where the kernel in registers
// (device/single_forward.cuh) is to do it.
bool SetMixed(const BoundaryShape& shape, BoundaryConfig& config) {
  if (shape.kind != BoundaryKind::kMhc || config.columns.tiles > kMostMixedTiles) return false;
  const Share boxes = ShareOf(shape.channels, kBoxChannels, kMostMixedBoxes);
  if (boxes.pieces > kMostMixedBoxes) return false;
  const SinglePassGeometry geometry = {boxes.cluster, 2 * boxes.pieces, kMixedStages};
  const int shared = MixedSizes(geometry, config.columns).total;
  if (shared > kMostSharedBytes) return false;
  config.mixed = true;
  config.geometry = geometry;
  config.shared_bytes = shared;
  config.threads = (geometry.warps + kMixedServiceWarps) * 32;
  return true;
}

BoundaryConfig Streaming(std::string why) {
  BoundaryConfig config;
  config.why = std::move(why);
  return config;
}

}  // namespace

int ProjectionColumns(const BoundaryShape& shape) {
  return shape.kind == BoundaryKind::kHc ? shape.streams + 2 : int(DynamicColumns(shape));
}

BoundaryConfig ConfigOf(const BoundaryDesc& desc, BoundaryPath path, int64_t most_partials) {
  if (path == BoundaryPath::kChosen) path = kChosenPath;
  if (path == BoundaryPath::kStreaming) return Streaming("");
  if (std::string missing = Missing(desc); !missing.empty()) return Streaming(std::move(missing));

  const BoundaryShape& shape = desc.shape;
  const bool forward = desc.pass == BoundaryPass::kForward;
  const int64_t most = forward ? kMostForward : kMostBackward;
  if (shape.channels > most) {
    return Streaming(absl::StrCat("C=", shape.channels, "; need C <= ", most));
  }
  BoundaryConfig config;
  config.single_pass = true;
  config.columns = {shape.streams, int(CeilDivide(ProjectionColumns(shape), 8)),
                    shape.kind == BoundaryKind::kHc};
  config.tile_tokens = forward ? kForwardTileTokens : kBackwardTileTokens;
  config.most_clusters = CeilDivide(shape.tokens, config.tile_tokens);
  if (forward && SetMixed(shape, config)) return config;
  SinglePassGeometry& geometry = config.geometry;
  geometry = forward ? ForwardGeometry(shape.channels) : BackwardGeometry(shape.channels);
  const auto shared = [&] {
    return forward ? ForwardSizes(geometry, config.columns).total
                   : BackwardSizes(geometry, config.columns).total;
  };
  if (forward && shared() > kMostSharedBytes) geometry.stages = 1;
  if (shared() > kMostSharedBytes) {
    return Streaming(absl::StrCat("C=", shape.channels, " takes ", shared(),
                                  " bytes of shared memory; need <= ", kMostSharedBytes));
  }
  config.shared_bytes = shared();
  config.threads = (geometry.warps + (forward ? kServiceWarps : kBackwardServiceWarps)) * 32;
  if (!forward) config.most_clusters = std::min(config.most_clusters, most_partials);
  return config;
}

BoundaryConfig MergeConfig(BoundaryDesc desc, BoundaryPath path) {
  desc.pass = BoundaryPass::kForward;
  desc.sink = BoundarySink::kSubLayer;
  return ConfigOf(desc, path);
}

std::string ToString(const BoundaryConfig& config) {
  if (!config.single_pass) {
    return config.why.empty() ? "streaming" : absl::StrCat("streaming: ", config.why);
  }
  const SinglePassGeometry& geometry = config.geometry;
  return absl::StrCat("single pass: cluster ", geometry.cluster, ", ", geometry.warps, " + ",
                      config.threads / 32 - geometry.warps, " warps, ", geometry.stages,
                      " tiles of ", config.tile_tokens, " tokens, ", config.shared_bytes,
                      " bytes shared");
}

}  // namespace birkhoff::cuda
