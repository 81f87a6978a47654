// What the host and the single-pass kernels of the boundary agree on: arguments, and how a block's
// shared memory is cut up.
//
// A cluster of `cluster` blocks shares each tile of tokens.  Backward a block owns boxes of 64 channels
// of all streams, a warp 8 channels of every box (device/single_backward.cuh).  So it is forward too
// where a merge is made by the tensor cores (mixed_forward.h).  In the other forward kernel a block
// owns 32 `warps` channels, a warp 32, a lane 8 (16 bytes of bf16) of two tokens: lane 4 g + t holds
// channels 8 t .. 8 t + 7 of tokens g and g + 8 of the tile.  That is at once what copies move, what
// the elementwise arithmetic needs, and an operand of the tensor cores (device/hopper.cuh), so that
// the tile stays in registers.
#pragma once

#include <cstdint>

#include "kernels/cuda/tensor_map.h"
#include "kernels/host_device.h"
#include "kernels/types.h"

namespace birkhoff::cuda {

inline constexpr int kForwardTileTokens = 16;
inline constexpr int kBackwardTileTokens = 8;
inline constexpr int kWarpChannels = 32;

// Warps of a forward block beside those that own channels: one adds up what those leave, and sends it;
// one finishes the tokens that the block owns.
inline constexpr int kServiceWarps = 2;
// Warps that own channels: at 10 (and 2 more) a lane has 168 registers, which is what it needs; at
// 16 it has 96 and spills.
inline constexpr int kUsualWarps = 10, kMostWarps = 16;

inline constexpr int kTurnBarriers = 8;  // device/turn_barriers.cuh

// How a kernel is launched.
struct SinglePassGeometry {
  int cluster = 1;  // blocks: 1, 2, 4, 8, 16
  int warps = 1;    // of a block that own channels, 32 each: cluster * warps * 32 >= C
  int stages = 2;  // tiles in shared memory: 2, or 1 where there is no room; 3 in the backward pass
  int boxes = 0;   // of kBoxChannels that a block owns, in the backward pass
  bool operator==(const SinglePassGeometry&) const = default;
};

// Of the arguments; the compiler knows the largest number of warps alone.
template <int kMost>
struct AnyGeometry {
  static constexpr int kMostWarps = kMost;
  BIRKHOFF_HOST_DEVICE static constexpr SinglePassGeometry Of(SinglePassGeometry given) {
    return given;
  }
};
// Known to the compiler, which saves registers.
template <int kCluster, int kWarps, int kStages>
struct FixedGeometry {
  static constexpr int kMostWarps = kWarps;
  BIRKHOFF_HOST_DEVICE static constexpr SinglePassGeometry Of(SinglePassGeometry) {
    return {kCluster, kWarps, kStages};
  }
};

// What one token gives besides its row.
struct SinglePassColumns {
  int streams = 1;       // N
  int tiles = 0;         // of 8 columns of the projection: (columns + 7) / 8
  bool per_row = false;  // kHc: every stream against the same columns
};

BIRKHOFF_HOST_DEVICE constexpr int AlignUp(int bytes, int to) { return (bytes + to - 1) / to * to; }
// Tokens of a tile that one block finishes; blocks beyond the last token's finish none.
BIRKHOFF_HOST_DEVICE constexpr int OwnedTokens(int tile, int cluster) {
  return tile / cluster > 1 ? tile / cluster : 1;
}

// ---- forward

struct ForwardSizes {
  BIRKHOFF_HOST_DEVICE constexpr ForwardSizes(SinglePassGeometry geometry,
                                              SinglePassColumns columns)
      : threads(geometry.warps * 32),
        owned(OwnedTokens(kForwardTileTokens, geometry.cluster)),
        products((columns.per_row ? columns.streams : 1) * columns.tiles * 8),
        gram(columns.streams * (columns.streams + 1) / 2),
        sums(AlignUp(products + gram, 4)),
        // Rows of a warp's sums, 8 or 24 banks apart from each other.
        sum_pitch((sums + 7) / 16 * 16 + 8),
        // Of a token: H_post, H_res below.  16 bytes divide among the banks.
        coefficient_pitch((columns.streams + columns.streams * columns.streams + 3) / 8 * 8 + 4),
        scale_pitch(AlignUp(columns.streams + 1, 4)) {
    const int rows = columns.per_row ? 1 : columns.streams;
    phi = rows * columns.tiles * 2 * geometry.warps * 32 * 8;
    gamma = threads * 4;
    stage = (columns.streams + 1) * 2 * threads * 16;
    parts = geometry.warps * kForwardTileTokens * sum_pitch * 4;
    coefficients = kForwardTileTokens * coefficient_pitch * 4;
    received = AlignUp(geometry.cluster * owned * sums * 4, 16);
    scales = kForwardTileTokens * scale_pitch * 4;
    total = 16 + phi + gamma + geometry.stages * stage + parts + 2 * coefficients + 2 * received +
            2 * scales + kTurnBarriers * 8;
  }

  int threads;            // of the warps that own channels
  int owned;              // tokens that a block finishes
  int products;           // floats of a token: [streams of kHc][tiles][8]
  int gram;               // x_i . x_j, i <= j, row by row
  int sums;               // both, rounded up to a multiple of 4
  int sum_pitch;          // floats from token to token of a warp's sums
  int coefficient_pitch;  // floats from token to token
  int scale_pitch;        // floats from token to token: weights of the streams, 1 / rms
  // Bytes, in this order: 16 of scratch, phi, gamma, the stages, parts, coefficients, received and
  // scales of an even and an odd turn, barriers.
  int phi = 0, gamma = 0, stage = 0, parts = 0, coefficients = 0, received = 0, scales = 0;
  int total = 0;
};

struct SingleForwardArgs {
  int64_t tokens = 0;
  int channels = 0;  // a multiple of 8
  int columns = 0;   // of the projection
  float mix_eps = 0, norm_eps = 0;
  SinglePassGeometry geometry = {};
  // The merge; nulls where X stands in `x` already, or of coefficients of a plain residual.
  const bf16* x_below = nullptr;
  const bf16* y = nullptr;
  const float* coefficients_below = nullptr;
  const float* prefix_below = nullptr;
  bf16* x = nullptr;
  float* prefix = nullptr;  // null: not wanted
  const float* projection = nullptr;
  const float* alpha = nullptr;
  const float* bias = nullptr;
  const float* gamma = nullptr;
  float* logits = nullptr;
  bf16* norm_out = nullptr;
  float* norm_inv_rms = nullptr;
  uint32_t zero = 0;  // stays 0; device/hopper.cuh, Placed
};

// ---- backward

inline constexpr int kBackwardWarps = 8;  // that own channels: 8 of every box of 64
// Warps beside them: a whole group, as registers pass from one to the other (device/hopper.cuh).
inline constexpr int kBackwardServiceWarps = 4;
// Registers of a thread after launch, where all have 168: sums of more boxes take more.
BIRKHOFF_HOST_DEVICE constexpr int BackwardRegisters(int boxes) { return boxes > 4 ? 216 : 208; }
BIRKHOFF_HOST_DEVICE constexpr int BackwardServiceRegisters(int boxes) {
  return 3 * 168 - 2 * BackwardRegisters(boxes);
}
// Boxes that a block may own: fewer stand partly outside of C.
inline constexpr int kFewestBoxes = 3, kMostBoxes = 5;
inline constexpr int kBackwardStages = 3;  // tiles that are loading, have their dots, are applied
inline constexpr int kBackwardBarriers = 2 * kBackwardStages + 6;  // device/backward_block.cuh

struct BackwardSizes {
  BIRKHOFF_HOST_DEVICE constexpr BackwardSizes(SinglePassGeometry geometry,
                                               SinglePassColumns columns)
      : owned(OwnedTokens(kBackwardTileTokens, geometry.cluster)),
        box(kBackwardTileTokens * kBoxChannels * 2),
        stage((2 * columns.streams + 2) * geometry.boxes * box) {
    const int pairs = (columns.streams + 1) / 2;
    phi = geometry.boxes * kBackwardWarps * 32 * PhiWordsOf(columns) * 4;
    parts = kBackwardWarps * kBackwardTileTokens * DotsOf(columns.streams) * 4;
    received = geometry.cluster * owned * DotsOf(columns.streams) * 4;
    packets = kBackwardTileTokens * PacketOf(pairs, columns.tiles) * 4;
    zeros = ZerosOf(pairs) * 4;
    gamma = geometry.boxes * kBoxChannels * 4;
    total = kBackwardStages * stage + phi + gamma + parts + 2 * received + 2 * packets + zeros +
            3 * kScratch * 4 + kBackwardBarriers * 8 + kTail;
  }

  // Sums over channels of a token: dX'_i . x_j [n, n], dX'_i . y, g . x_j, u . x_j; an odd number of
  // 16 bytes, so that banks of 8 tokens differ.
  BIRKHOFF_HOST_DEVICE static constexpr int DotsOf(int streams) {
    return AlignUp(streams * streams + 3 * streams, 4);
  }
  // Words of phi that a lane has of 8 channels.
  BIRKHOFF_HOST_DEVICE static constexpr int PhiWordsOf(SinglePassColumns columns) {
    return AlignUp(columns.streams * columns.tiles, 4);
  }
  // Words of a token that do not depend on its sums (device/backward_block.cuh).
  BIRKHOFF_HOST_DEVICE static constexpr int KnownOf(int pairs) {
    return 8 * pairs * pairs + 4 * pairs + 8;
  }
  BIRKHOFF_HOST_DEVICE static constexpr int ZerosOf(int pairs) { return KnownOf(pairs) + 4; }
  // Words of a token (device/backward_block.cuh); an odd number of 16 bytes too.
  BIRKHOFF_HOST_DEVICE static constexpr int PacketOf(int pairs, int tiles) {
    return (KnownOf(pairs) + 8 + 12 * tiles + 3) / 8 * 8 + 4;
  }
  static constexpr int kScratch = 48;  // words of a service warp: flows, or what is known
  static constexpr int kTail = 16;     // bytes

  int owned;  // tokens that a block finishes
  int box;    // bytes of a box of one row a token
  // Bytes, in this order: the stages, phi, gamma, parts, packets of an even and an odd turn, zeros,
  // scratch, barriers, tail, received of an even and an odd turn.
  int stage;
  int phi = 0, gamma = 0, parts = 0, packets = 0, zeros = 0, received = 0, total = 0;
};

struct SingleBackwardArgs {
  int64_t tokens = 0;
  int channels = 0;  // a multiple of 8
  int columns = 0;
  SinglePassGeometry geometry = {};
  // Boxes of 8 tokens and all streams: dX', X, dX; of y, dnorm, dy_below.
  TensorMap dx_above = {}, x = {}, dx = {};
  TensorMap y = {}, dnorm = {}, dy_below = {};
  const float* norm_inv_rms = nullptr;
  const float* coefficients = nullptr;
  const float* logits = nullptr;
  const float* basis = nullptr;  // Sinkhorn: [tokens, n - 1, n, n] (device/sinkhorn_basis.cuh)
  bool equal_streams = false;
  const float* projection = nullptr;
  const float* alpha = nullptr;
  const float* bias = nullptr;
  const float* gamma = nullptr;
  const float* suffix_above = nullptr;
  float* suffix = nullptr;                    // null: not wanted
  const float* coefficients_below = nullptr;  // null: no merge below, and no dy_below
  // What each cluster (or block, `sums`) adds up, for a second kernel.
  float* projection_partials = nullptr;  // [clusters, N C, columns]
  float* gamma_partials = nullptr;       // [clusters, C]
  float* sums = nullptr;                 // [blocks, 3 + columns]: alpha, bias
};

}  // namespace birkhoff::cuda
