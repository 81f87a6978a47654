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
  // Sums over channels of a token: dX'_i . x_j [N, N], dX'_i . y [N], g . x_j [N], where
  // g = gamma dnorm, and x_i . x_j, i <= j, row by row.
  static constexpr int kOfY = N * N, kOfG = kOfY + N, kGram = kOfG + N;
  static constexpr int kDots = AlignUp(kGram + N * (N + 1) / 2, 4);
  __device__ static constexpr int GramOf(int i, int j) {
    const int row = i < j ? i : j, column = i < j ? j : i;
    return kGram + row * N - row * (row - 1) / 2 + column - row;
  }
  // What Apply needs of a token: H_pre, H_res, H_post below, 1 / rms of u.
  static constexpr int kRes = N, kBelow = N + N * N, kInverse = kBelow + N;
  static_assert(kCoefficients <= 32, "a lane has one of each at most");
  // Words of a packet (BackwardSizes): where fp16 begins, and the floats.
  static constexpr int kPacketHalves = 8 * kTiles, kPacketFloats = 16 * kTiles;

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

  // What the products with phi are to be multiplied with.
  __device__ float* InverseScale() const { return reinterpret_cast<float*>(shared_) + 1; }
  __device__ unsigned char* Stage(int turn) const {
    return shared_ + 16 + sizes_.phi + sizes_.gamma + turn % BackwardSizes::kStages * sizes_.stage;
  }
  __device__ unsigned char* YStage(int turn) const {
    return shared_ + 16 + sizes_.phi + sizes_.gamma + BackwardSizes::kStages * sizes_.stage +
           turn % BackwardSizes::kYStages * sizes_.y_stage;
  }
  __device__ float* Parts() const {
    return reinterpret_cast<float*>(YStage(0) + BackwardSizes::kYStages * sizes_.y_stage);
  }
  __device__ float* Coefficients(int turn) const {
    return Parts() +
           (sizes_.parts + turn % BackwardSizes::kCoefficientStages * sizes_.coefficients) / 4;
  }
  __device__ uint32_t* Packets(int turn) const {
    float* after =
        Parts() + (sizes_.parts + BackwardSizes::kCoefficientStages * sizes_.coefficients) / 4;
    return reinterpret_cast<uint32_t*>(after) + turn % 2 * sizes_.packets / 4;
  }
  __device__ float* Received(int turn) const {
    return reinterpret_cast<float*>(Packets(0)) +
           (2 * sizes_.packets + turn % 2 * sizes_.received) / 4;
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
