// Which kernels make a boundary, and in what shape: a pure function of the problem, for the host.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/dtype.h"
#include "kernels/boundary.h"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

enum class BoundaryPass { kForward, kRecompute, kBackward };

// What a caller asks for.  The single pass falls back to streaming where it cannot do a problem.
enum class BoundaryPath { kChosen, kStreaming, kSinglePass };

// What kChosen is.
inline constexpr BoundaryPath kChosenPath = BoundaryPath::kSinglePass;

inline constexpr int kMostSharedBytes = 227 * 1024;  // that a block of Hopper may have

struct BoundaryDesc {
  BoundaryPass pass = BoundaryPass::kForward;
  BoundaryShape shape = {};
  BoundarySource source = BoundarySource::kMerge;
  BoundarySink sink = BoundarySink::kSubLayer;
  DType dtype = DType::kBfloat16;  // of the streams
  bool aligned = true;             // every row of streams and activations to 16 bytes
  int compute_capability = 90;     // of the GPU
};

struct BoundaryConfig {
  bool single_pass = false;
  std::string why;  // streaming: what the single pass would need; empty where it was not wanted
  // Of a single pass:
  bool mixed = false;  // forward: X is merged on the tensor cores (mixed_forward.h)
  SinglePassGeometry geometry = {};
  SinglePassColumns columns = {};
  int tile_tokens = 0;
  int threads = 0;  // of a block
  int shared_bytes = 0;
  // Clusters at most, however many the GPU holds: as many as there are tiles, and no more partial
  // sums than the workspace has room for.  The grid is persistent.
  int64_t most_clusters = 0;
};

// `most_partials`: how many partial sums of the gradients of parameters a backward pass may keep.
BoundaryConfig ConfigOf(const BoundaryDesc& desc, BoundaryPath path, int64_t most_partials = 1);

// That of the forward pass of a sub-layer, by whose arithmetic X of a merge is made whatever the pass
// and the sink: a recompute, a head and a cut then have the bits of an uncut forward.
BoundaryConfig MergeConfig(BoundaryDesc desc, BoundaryPath path);

// "single pass: cluster 8, 10 + 4 warps, 2 tiles of 16 tokens, 221568 bytes shared", or
// "streaming: C=100; need C % 8 == 0".
std::string ToString(const BoundaryConfig& config);

// Columns of the projection: of phi, or of theta.
int ProjectionColumns(const BoundaryShape& shape);

}  // namespace birkhoff::cuda
