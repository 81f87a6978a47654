// A block of the single-pass backward kernel: which tiles its cluster owns, what its warps say to
// each other, and where that lies in shared memory.
#pragma once

#include "kernels/cuda/device/cluster_tiles.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/device/turn_barriers.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

template <int N, int kTiles, typename Fixed>
class BackwardBlock {
 public:
  static constexpr SinglePassColumns kColumns = {N, kTiles, false};
  static constexpr int kTile = kBackwardTileTokens;
  static constexpr int kCoefficients = 2 * N + N * N;
  static_assert(kCoefficients <= 32, "a lane has one of each at most");

  // What the tensor cores take at once: a group of kGroup tokens, of each the kVectors vectors dX'_i
  // and x_k, 16 rows in all, against 8 columns, kPadded streams of each token.  At n = 3 the fourth
  // is another once more, with coefficients of 0.
  static constexpr int kPadded = PaddedStreams(N), kVectors = 2 * kPadded;
  static constexpr int kGroup = 8 / kPadded, kGroups = kTile / kGroup;

  // Sums over channels of a token: dX'_i . x_j, x_i . x_j (at n = 4 once each in the lower right
  // quarter), dX'_i . y, and g . x_j, where g = gamma dnorm.
  static constexpr int kDots = BackwardSizes::DotsOf(kPadded);
  static constexpr int kOfG = kDots - kPadded, kOfY = kOfG - kPadded;
  static constexpr int kGram = kPadded * kPadded;
  static_assert(kDots % 4 == 0, "sent by 16 bytes");
  __device__ static constexpr int GramOf(int i, int j) {
    const int row = i < j ? i : j, column = i < j ? j : i;
    return row < 2 ? kGram + row * kPadded + column : kGram + 2 * row + column + 2;
  }

  // Words of a packet (BackwardSizes).  dproducts in bf16, high, then low, [2][columns / 2]; in fp16,
  // as the tensor cores take them, [4 lanes][tiles], pairs of columns; coefficients of dX_j, [kPadded]
  // [4 lanes][high, low], two words each, what the lane multiplies with rows of the group's first
  // tokens and its last, of which one is zero; H_pre / rms [kPadded], high in the lower half; a float.
  static constexpr int kPacketHalves = 8 * kTiles, kPacketMix = 12 * kTiles;
  static constexpr int kPacketRead = kPacketMix + 16 * kPadded;
  static constexpr int kPacketScale = kPacketRead + kPadded;
  // Whether a token is among the last of its group.
  __device__ static constexpr int LastOf(int token) { return token / (kPadded == 4 ? 4 : 2) % 2; }

  __device__ BackwardBlock(const SingleBackwardArgs& args, unsigned char* shared)
      : args_(args),
        geometry_(Fixed::Of(args.geometry)),
        sizes_(geometry_, kColumns),
        shared_(shared),
        rank_(ClusterRank()),
        tiles_(args.tokens, kTile, geometry_.cluster) {}

 protected:
  __device__ static int Lane() { return int(threadIdx.x) % 32; }

  // ---- shared memory

  __device__ uint32_t* Phi() const {
    return reinterpret_cast<uint32_t*>(shared_ + BackwardSizes::kHead);
  }
  // What the products with phi are to be multiplied with.
  __device__ float* InverseScale() const { return reinterpret_cast<float*>(shared_) + 1; }
  __device__ unsigned char* Stage(int turn) const {
    return shared_ + BackwardSizes::kHead + sizes_.phi +
           InTurn(turn, BackwardSizes::kStages) * sizes_.stage;
  }
  __device__ unsigned char* YStage(int turn) const {
    return shared_ + BackwardSizes::kHead + sizes_.phi + BackwardSizes::kStages * sizes_.stage +
           InTurn(turn, BackwardSizes::kYStages) * sizes_.y_stage;
  }
  __device__ float* Parts() const {
    return reinterpret_cast<float*>(YStage(0) + BackwardSizes::kYStages * sizes_.y_stage);
  }
  __device__ float* Coefficients(int turn) const {
    return Parts() +
           (sizes_.parts + InTurn(turn, BackwardSizes::kCoefficientStages) * sizes_.coefficients) /
               4;
  }
  __device__ uint32_t* Packets(int turn) const {
    float* after =
        Parts() + (sizes_.parts + BackwardSizes::kCoefficientStages * sizes_.coefficients) / 4;
    return reinterpret_cast<uint32_t*>(after) + InTurn(turn, 2) * sizes_.packets / 4;
  }
  __device__ float* Received(int turn) const {
    return reinterpret_cast<float*>(Packets(0)) +
           (2 * sizes_.packets + InTurn(turn, 2) * sizes_.received) / 4;
  }
  __device__ float* Scratch() const { return Received(0) + 2 * sizes_.received / 4; }
  __device__ TurnBarriers Barriers() const {
    return TurnBarriers(reinterpret_cast<uint64_t*>(Scratch() + sizes_.scratch / 4));
  }

  const SingleBackwardArgs& args_;
  const SinglePassGeometry geometry_;
  const BackwardSizes sizes_;
  unsigned char* const shared_;
  const int rank_;
  const ClusterTiles tiles_;
};

}  // namespace birkhoff::cuda
