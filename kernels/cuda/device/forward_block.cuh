// A block of the single-pass forward kernel: which tiles its cluster owns, what its warps say to
// each other, and where that lies in shared memory.
#pragma once

#include "kernels/cuda/device/cluster_tiles.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

template <int N, int kTiles, bool kPerRow, typename Fixed>
class ForwardBlock {
 public:
  static constexpr SinglePassColumns kColumns = {N, kTiles, kPerRow};
  static constexpr int kTile = kForwardTileTokens;
  static constexpr int kGram = N * (N + 1) / 2;
  static constexpr int kCoefficients = 2 * N + N * N;

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

  // Who waits for what, of turn t; a barrier of its own for even and odd turns where somebody may be
  // two phases ahead.
  //   PartsFull         all warps have left their sums        the gatherer
  //   PartsFree         the gatherer has read them            the warps, before those of t + 1
  //   CoefficientsCome  they have been copied                 the warps
  //   SumsCome          of all blocks, of the owned tokens    the finisher
  //   ScalesCome        of all tokens of the tile             the warps
  // A block sends sums of t + 2 when its warps are done with the scales of t, which came when every
  // finisher was done with the sums of t; a finisher sends scales of t + 2 when it has the sums of
  // t + 2, so that its peers' warps are done with the scales of t.
  __device__ uint64_t* Barriers() const {
    return reinterpret_cast<uint64_t*>(Scales(0) + 2 * sizes_.scales / 4);
  }
  __device__ uint64_t* PartsFull() const { return Barriers(); }
  __device__ uint64_t* PartsFree() const { return Barriers() + 1; }
  __device__ uint64_t* CoefficientsCome(int turn) const { return Barriers() + 2 + turn % 2; }
  __device__ uint64_t* SumsCome(int turn) const { return Barriers() + 4 + turn % 2; }
  __device__ uint64_t* ScalesCome(int turn) const { return Barriers() + 6 + turn % 2; }
  __device__ void InitBarriers() const {
    MBarrierInit(PartsFull(), geometry_.warps);
    MBarrierInit(PartsFree(), 1);
    for (int turn = 0; turn < 2; ++turn) {
      MBarrierInit(CoefficientsCome(turn), 1);
      MBarrierInit(SumsCome(turn), 1);
      MBarrierInit(ScalesCome(turn), 1);
    }
    MBarriersReady();
  }

  const SingleForwardArgs& args_;
  const SinglePassGeometry geometry_;
  const ForwardSizes sizes_;
  unsigned char* const shared_;
  const int rank_;
  const ClusterTiles tiles_;
};

}  // namespace birkhoff::cuda
