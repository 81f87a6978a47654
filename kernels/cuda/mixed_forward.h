// What the host and the forward kernel that merges on the tensor cores (device/mixed_forward.cuh)
// agree on: arguments, and how a block's shared memory is cut up.
//
// As in the other single passes (single_pass.h) a cluster shares tiles of 16 tokens, and a warp owns
// 32 channels of all streams; here the tiles come and go by the copy engine, in boxes of 64 channels
// (tensor_map.h), so that a block owns whole boxes, two warps each.
#pragma once

#include <cstdint>

#include "kernels/cuda/single_pass.h"
#include "kernels/cuda/tensor_map.h"
#include "kernels/host_device.h"
#include "kernels/types.h"

namespace birkhoff::cuda {

// Warps of a block beside those that own channels: one each for the boxes, the coefficients below,
// the sums of the block and the tokens that it finishes.
inline constexpr int kMixedServiceWarps = 4;
// Boxes that a block may own: 10 warps and those 4 leave a lane 128 registers.
inline constexpr int kMostMixedBoxes = kUsualWarps / 2;
// Columns of the projection, in eights; more would not fit beside two tiles.
inline constexpr int kMostMixedTiles = 3;
inline constexpr int kMixedStages = 2;
inline constexpr int kMixedBarriers = kTurnBarriers + 6;  // device/mixed_block.cuh

// How the tensor cores see a token's streams: a product of theirs takes 16 rows, the streams of a
// group of tokens; row i kGroup + t is stream i of token t.  Three streams count as four.
struct MixShapeOfStreams {
  BIRKHOFF_HOST_DEVICE constexpr explicit MixShapeOfStreams(int streams)
      : padded(streams == 3 ? 4 : streams), group(16 / padded), half(padded / 2) {}
  int padded;  // streams
  int group;   // tokens
  int half;    // streams in 8 rows
};

// X in shared memory: boxes of two streams, 0 and 1; of four, the even ones, and the odd ones in
// boxes of their own, which lie half a swizzle further (kOddShift), so that eight rows of a product,
// four tokens of an even and an odd stream, do not share a bank; nor do eight tokens of a stream.
inline constexpr int kOddShift = 512;  // bytes
inline constexpr int kRowsBox =
    kForwardTileTokens * kBoxChannels * 2;  // bytes of a stream in a box

struct MixedSizes {
  BIRKHOFF_HOST_DEVICE constexpr MixedSizes(SinglePassGeometry geometry, SinglePassColumns columns)
      : boxes(geometry.warps / 2),
        threads(geometry.warps * 32),
        owned(OwnedTokens(kForwardTileTokens, geometry.cluster)),
        products(columns.tiles * 8),
        coefficient_pitch((columns.streams + columns.streams * columns.streams + 3) / 8 * 8 + 4),
        scale_pitch(AlignUp(columns.streams + 1, 4)) {
    const MixShapeOfStreams mix(columns.streams);
    sums = AlignUp(products + 3 * mix.half * mix.half, 4);
    // Rows of a warp's sums, 8 or 24 banks apart from each other.
    sum_pitch = (sums + 7) / 16 * 16 + 8;
    y = boxes * 2 * kRowsBox;
    odd = y + boxes * kRowsBox + kOddShift;
    stage = mix.half == 2 ? odd + boxes * 2 * kRowsBox + kOddShift : y + boxes * kRowsBox;
    norm = boxes * kRowsBox;
    phi = columns.streams * columns.tiles * geometry.warps * 32 * 16;
    gamma = threads * 4;
    parts = geometry.warps * kForwardTileTokens * sum_pitch * 4;
    // Of a group: H_res, high and low, of four words a lane; H_post of two, or four.
    weights = kForwardTileTokens / mix.group * 32 * 4 * (mix.half == 2 ? 10 : 12);
    coefficients = kForwardTileTokens * coefficient_pitch * 4;
    received = AlignUp(geometry.cluster * owned * sums * 4, 16);
    scales = kForwardTileTokens * scale_pitch * 4;
    total = kMixedStages * stage + norm + phi + gamma + parts + 2 * weights + 2 * coefficients +
            2 * received + 2 * scales + kMixedBarriers * 8 + 16;
  }

  int boxes;
  int threads;            // of the warps that own channels
  int owned;              // tokens that a block finishes
  int products;           // floats of a token: [tiles][8]
  int coefficient_pitch;  // floats from token to token: H_post, H_res below
  int scale_pitch;        // floats from token to token: weights of the streams, 1 / rms
  int sums = 0;           // products and x_i . x_j (device/mixed_block.cuh), a multiple of 4
  int sum_pitch = 0;      // floats from token to token of a warp's sums
  // Bytes, in this order: the stages, norm_out, phi, gamma, parts; of an even and an odd turn each,
  // weights of the mix, coefficients, received, scales; barriers, 16 of scratch.  In a stage: X (of
  // four streams the even ones), y, the odd ones.
  int stage = 0, norm = 0, phi = 0, gamma = 0, parts = 0;
  int weights = 0, coefficients = 0, received = 0, scales = 0, total = 0;
  int y = 0, odd = 0;  // where they begin in a stage
};

// Of the streams of [tokens, streams, C] those that boxes hold together: all of two; of three and
// four the even ones (odd = 0) or the odd ones.
inline BoxedRows BoxedStreams(const bf16* rows, int64_t tokens, int streams, int channels,
                              int odd) {
  if (streams == 2) return {rows, tokens, 2, channels, kForwardTileTokens};
  return {.first = rows + odd * channels,
          .tokens = tokens,
          .streams = (streams + 1 - odd) / 2,
          .channels = channels,
          .box_tokens = kForwardTileTokens,
          .stream_rows = 2,
          .token_rows = streams};
}

struct MixedForwardArgs {
  SingleForwardArgs usual = {};  // x_below and y are read by the maps
  TensorMap from[2] = {};  // X below, or X where it stands already; even (or all), odd streams
  TensorMap y = {};
  TensorMap x[2] = {};  // of a merge
  TensorMap norm_out = {};
};

// ---- X once more, and norm_out: device/mixed_source.cuh

inline constexpr int kMixedSourceWarps = 8;  // most of a block, which owns a group of tokens

struct MixedSourceArgs {
  int64_t tokens = 0;
  int channels = 0;  // a multiple of 8
  const bf16* x_below = nullptr;
  const bf16* y = nullptr;
  const float* coefficients_below = nullptr;
  bf16* x = nullptr;
  // Null where it is not wanted.
  bf16* norm_out = nullptr;
  const float* coefficients = nullptr;  // null: every stream weighs `weight`
  float weight = 0;
  const float* norm_inv_rms = nullptr;
  const float* gamma = nullptr;
};

// Bytes of shared memory for a warp: a group's rows of X and y, 32 channels.
BIRKHOFF_HOST_DEVICE constexpr int MixedSourceBytes(int streams) {
  return (16 + MixShapeOfStreams(streams).group) * kWarpChannels * 2;
}

}  // namespace birkhoff::cuda
