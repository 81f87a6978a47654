// A block of the forward kernel that merges on the tensor cores: which tiles its cluster owns, what
// its warps say to each other, and where that lies in shared memory.
#pragma once

#include "kernels/cuda/device/cluster_tiles.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/device/tensor_mix.cuh"
#include "kernels/cuda/device/turn_barriers.cuh"
#include "kernels/cuda/mixed_forward.h"

namespace birkhoff::cuda {

// Beside what all single passes say, of turn t:
//   TileCome   its boxes have come                        the warps
//   TileTaken  its X stands in the warps' registers, and  the boxes' warp; the coefficients' warp,
//              merged in the tile                         whose weights of t have been used
//   NormMade   norm_out lies in its boxes                 the boxes' warp
//   NormFree   and has been read from there               the warps, before that of t + 1
class MixedBarriers : public TurnBarriers {
 public:
  // at: [kMixedBarriers] in shared memory.
  __device__ explicit MixedBarriers(uint64_t* at) : TurnBarriers(at), more_(at + kTurnBarriers) {}

  __device__ uint64_t* TileCome(int turn) const { return more_ + InTurn(turn, 2); }
  __device__ uint64_t* TileTaken(int turn) const { return more_ + 2 + InTurn(turn, 2); }
  __device__ uint64_t* NormMade() const { return more_ + 4; }
  __device__ uint64_t* NormFree() const { return more_ + 5; }

  __device__ void Init(int warps) const {
    for (int turn = 0; turn < 2; ++turn) {
      MBarrierInit(TileCome(turn), 1);
      MBarrierInit(TileTaken(turn), warps);
    }
    MBarrierInit(NormMade(), warps);
    MBarrierInit(NormFree(), 1);
    TurnBarriers::Init(warps);
  }

 private:
  uint64_t* const more_;
};

template <int N, int kTiles, typename Fixed>
class MixedBlock {
 public:
  static constexpr SinglePassColumns kColumns = {N, kTiles, false};
  static constexpr int kTile = kForwardTileTokens;
  static constexpr int kCoefficients = 2 * N + N * N;
  using Mix = TensorMix<N>;
  static constexpr int kHalf = Mix::kHalf, kGroups = kTile / Mix::kGroup;

  // Where x_i . x_j, i <= j, is among a token's: pairs of the halves' own, as one lane has them, then
  // of the second half with the first.
  __device__ static constexpr int GramOf(int i, int j) {
    return j < kHalf    ? 2 * (kHalf * i + j)
           : i >= kHalf ? 2 * (kHalf * (i - kHalf) + j - kHalf) + 1
                        : 2 * kHalf * kHalf + kHalf * (j - kHalf) + i;
  }

  __device__ MixedBlock(const MixedForwardArgs& args, unsigned char* shared)
      : boxed_(args),
        args_(args.usual),
        geometry_(Fixed::Of(args.usual.geometry)),
        sizes_(geometry_, kColumns),
        shared_(shared),
        rank_(ClusterRank()),
        tiles_(args.usual.tokens, kTile, geometry_.cluster) {}

 protected:
  __device__ static int Lane() { return int(threadIdx.x) % 32; }
  __device__ int FirstToken(int turn) const { return tiles_.Tile(turn) * kTile; }
  __device__ int FirstChannel() const { return rank_ * sizes_.boxes * kBoxChannels; }

  // ---- shared memory

  __device__ unsigned char* Stage(int turn) const {
    return shared_ + InTurn(turn, kMixedStages) * sizes_.stage;
  }
  __device__ unsigned char* Norm() const { return shared_ + kMixedStages * sizes_.stage; }
  __device__ uint4* Phi() const { return reinterpret_cast<uint4*>(Norm() + sizes_.norm); }
  __device__ float* Gamma() const {
    return reinterpret_cast<float*>(Norm() + sizes_.norm + sizes_.phi);
  }
  // [warps][tokens][sum_pitch]
  __device__ float* Parts() const { return Gamma() + sizes_.gamma / 4; }
  // [groups], of each: high [lanes][4], low [lanes][4], post [lanes][kPostWords]
  static constexpr int kGroupWords = 32 * (8 + Mix::kPostWords);
  __device__ uint32_t* Weights(int turn) const {
    return reinterpret_cast<uint32_t*>(Parts()) +
           (sizes_.parts + InTurn(turn, 2) * sizes_.weights) / 4;
  }
  __device__ float* Coefficients(int turn) const {
    return Parts() +
           (sizes_.parts + 2 * sizes_.weights + InTurn(turn, 2) * sizes_.coefficients) / 4;
  }
  // [blocks][owned][sums]
  __device__ float* Received(int turn) const {
    return Coefficients(0) + (2 * sizes_.coefficients + InTurn(turn, 2) * sizes_.received) / 4;
  }
  __device__ float* Scales(int turn) const {
    return Received(0) + (2 * sizes_.received + InTurn(turn, 2) * sizes_.scales) / 4;
  }
  __device__ MixedBarriers Barriers() const {
    return MixedBarriers(reinterpret_cast<uint64_t*>(Scales(0) + 2 * sizes_.scales / 4));
  }
  // The block's largest phi; what the products with phi are to be multiplied with.
  __device__ float* Scratch() const {
    return reinterpret_cast<float*>(Scales(0)) + (2 * sizes_.scales + kMixedBarriers * 8) / 4;
  }
  __device__ float* InverseScale() const { return Scratch() + 1; }

  // Bytes into a stage: X of a stream in the first box; boxes are two rows of boxes apart.
  __device__ int RowsAt(int stream) const {
    return kHalf == 2 ? stream % 2 * sizes_.odd + stream / 2 * kRowsBox : stream * kRowsBox;
  }
  // Octet p of a token's row, in rows that begin as the swizzle does, or (odd) half a swizzle later.
  __device__ static int At(int token, int p, int odd) {
    return token * (kBoxChannels * 2) + ((p ^ (token % 8) ^ (4 * odd)) * 16);
  }

  const MixedForwardArgs& boxed_;
  const SingleForwardArgs& args_;
  const SinglePassGeometry geometry_;
  const MixedSizes sizes_;
  unsigned char* const shared_;
  const int rank_;
  const ClusterTiles tiles_;
};

}  // namespace birkhoff::cuda
