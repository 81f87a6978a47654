// A block of the single-pass forward kernel: which tiles its cluster owns, what its warps say to
// each other, and where that lies in shared memory.
#pragma once

#include "kernels/cuda/device/cluster_tiles.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/device/turn_barriers.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

template <int N, int kTiles, bool kPerRow, typename Fixed>
class ForwardBlock {
 public:
  static constexpr SinglePassColumns kColumns = {N, kTiles, kPerRow};
  static constexpr int kTile = kForwardTileTokens;
  static constexpr int kCoefficients = 2 * N + N * N;

  // Where x_i . x_j, i <= j, is among a token's.
  __device__ static constexpr int GramOf(int i, int j) { return i * N - i * (i - 1) / 2 + j - i; }

  __device__ ForwardBlock(const SingleForwardArgs& args, unsigned char* shared)
      : args_(args),
        geometry_(Fixed::Of(args.geometry)),
        sizes_(geometry_, kColumns),
        shared_(shared),
        rank_(ClusterRank()),
        tiles_(args.tokens, kTile, geometry_.cluster) {}

 protected:
  static constexpr int kRows = kPerRow ? N : 1;  // rows of products of a token

  __device__ static float PhiOf(const SingleForwardArgs& args, int j, int c, int column) {
    const int64_t at = kPerRow ? int64_t{column} * args.channels + c
                               : (int64_t{j} * args.channels + c) * args.columns + column;
    return args.projection[at];
  }

  __device__ static int Lane() { return int(threadIdx.x) % 32; }

  // ---- shared memory

  // What the products with phi are to be multiplied with.
  __device__ float* InverseScale() const { return reinterpret_cast<float*>(shared_) + 1; }
  __device__ uint2* Phi() const { return reinterpret_cast<uint2*>(shared_ + 16); }
  __device__ float* Gamma() const { return reinterpret_cast<float*>(shared_ + 16 + sizes_.phi); }
  __device__ unsigned char* Stage(int turn) const {
    return shared_ + 16 + sizes_.phi + sizes_.gamma + turn % geometry_.stages * sizes_.stage;
  }
  // [warps][tokens][sum_pitch]
  __device__ float* Parts() const {
    return reinterpret_cast<float*>(shared_ + 16 + sizes_.phi + sizes_.gamma +
                                    geometry_.stages * sizes_.stage);
  }
  __device__ float* Coefficients(int turn) const {
    return Parts() + (sizes_.parts + turn % 2 * sizes_.coefficients) / 4;
  }
  // [blocks][owned][sums]
  __device__ float* Received(int turn) const {
    return Parts() + (sizes_.parts + 2 * sizes_.coefficients + turn % 2 * sizes_.received) / 4;
  }
  __device__ float* Scales(int turn) const {
    return Received(0) + (2 * sizes_.received + turn % 2 * sizes_.scales) / 4;
  }

  __device__ TurnBarriers Barriers() const {
    return TurnBarriers(reinterpret_cast<uint64_t*>(Scales(0) + 2 * sizes_.scales / 4));
  }

  const SingleForwardArgs& args_;
  const SinglePassGeometry geometry_;
  const ForwardSizes sizes_;
  unsigned char* const shared_;
  const int rank_;
  const ClusterTiles tiles_;
};

}  // namespace birkhoff::cuda
