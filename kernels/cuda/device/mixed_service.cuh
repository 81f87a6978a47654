// Warps of the forward kernel that merges on the tensor cores, beside those that own channels: for the
// boxes, for the coefficients of the merge, for the block's sums.  The fourth, for the tokens that the
// block owns, is ForwardFinisher (device/forward_service.cuh).
#pragma once

#include "kernels/cuda/device/forward_service.cuh"
#include "kernels/cuda/device/gather.cuh"
#include "kernels/cuda/device/mixed_block.cuh"

namespace birkhoff::cuda {

// Brings tiles two turns ahead, and takes X and norm_out away.  Of one lane.
template <typename Block, bool kMerge>
class MixedBoxes : private Block {
 public:
  using Block::Block;

  // The first tiles; needs nobody.
  __device__ void Begin() const {
    for (int turn = 0; turn < kMixedStages && turn < tiles_.Turns(); ++turn) Load(turn);
  }
  __device__ void Run() const {
    const int turns = tiles_.Turns();
    for (int turn = 0; turn <= turns; ++turn) {
      if (turn < turns) {
        MBarrierWait(Barriers().TileTaken(turn), turn / 2 % 2);
        if constexpr (kMerge) {
          StoreX(turn);
          BoxesCommit();
        }
        if (turn + kMixedStages < turns) {
          BoxesRead<0>();
          Load(turn + kMixedStages);
        }
      }
      if (turn > 0) {
        MBarrierWait(Barriers().NormMade(), (turn - 1) % 2);
        StoreNorm(turn - 1);
        BoxesCommit();
        BoxesRead<0>();
        MBarrierArrive(Barriers().NormFree());
      }
    }
    BoxesStored();
  }

 private:
  using Block::Barriers;
  using Block::boxed_;
  using Block::FirstChannel;
  using Block::FirstToken;
  using Block::kHalf;
  using Block::Norm;
  using Block::RowsAt;
  using Block::sizes_;
  using Block::Stage;
  using Block::tiles_;
  static constexpr int N = Block::kColumns.streams;

  __device__ void Load(int turn) const {
    const SharedAt stage = SharedAddress(Stage(turn));
    const int token = FirstToken(turn), channel = FirstChannel();
    uint64_t* const come = Barriers().TileCome(turn);
    MBarrierExpect(come, sizes_.boxes * (N + (kMerge ? 1 : 0)) * kRowsBox);
#pragma unroll 1
    for (int b = 0; b < sizes_.boxes; ++b) {
      const int c = channel + b * kBoxChannels;
#pragma unroll
      for (int odd = 0; odd < kHalf; ++odd)
        LoadBox(XBox(stage, b, odd), boxed_.from[odd], c, token, come);
      if constexpr (kMerge) LoadBox(stage + sizes_.y + b * kRowsBox, boxed_.y, c, token, come);
    }
  }
  __device__ void StoreX(int turn) const {
    const SharedAt stage = SharedAddress(Stage(turn));
    const int token = FirstToken(turn), channel = FirstChannel();
#pragma unroll 1
    for (int b = 0; b < sizes_.boxes; ++b) {
#pragma unroll
      for (int odd = 0; odd < kHalf; ++odd) {
        StoreBox(boxed_.x[odd], channel + b * kBoxChannels, token, XBox(stage, b, odd));
      }
    }
  }
  __device__ void StoreNorm(int turn) const {
    const SharedAt norm = SharedAddress(Norm());
    const int token = FirstToken(turn), channel = FirstChannel();
#pragma unroll 1
    for (int b = 0; b < sizes_.boxes; ++b) {
      StoreBox(boxed_.norm_out, channel + b * kBoxChannels, token, norm + b * kRowsBox);
    }
  }
  __device__ SharedAt XBox(SharedAt stage, int b, int odd) const {
    return stage + RowsAt(odd) + b * 2 * kRowsBox;
  }
};

// H_post and H_res below: as operands of the tensor cores, and for the prefix.
template <typename Block>
class MixedCoefficients : private Block {
 public:
  using Block::Block;

  __device__ void Run(const ForwardPrefix<Block>& prefix) const {
    const int turns = tiles_.Turns();
    for (int turn = 0; turn < 2; ++turn) {
      if (turn < turns) prefix.Prefetch(turn);
      CopyCommit();
    }
    const bool wanted = args_.prefix != nullptr;
    for (int turn = 0; turn < turns; ++turn) {
      float below[N] = {};
      if (wanted) prefix.Load(turn, 0, below);  // it takes its time
      CopyWait<1>();
      WarpBarrier();
      // The weights of two turns ago have been used.
      if (turn >= 2) MBarrierWait(Barriers().TileTaken(turn - 2), (turn - 2) / 2 % 2);
      Split(turn);
      WarpArrive(Barriers().CoefficientsCome(turn));
      if (wanted) prefix.Multiply(turn, below);
      WarpBarrier();
      if (turn + 2 < turns) prefix.Prefetch(turn + 2);
      CopyCommit();
    }
  }

 private:
  using Block::args_;
  using Block::Barriers;
  using Block::Coefficients;
  using Block::kGroups;
  using Block::kGroupWords;
  using Block::Lane;
  using Block::sizes_;
  using Block::tiles_;
  using Block::Weights;
  using Mix = typename Block::Mix;
  static constexpr int N = Block::kColumns.streams;

  __device__ void Split(int turn) const {
#pragma unroll 1
    for (int group = 0; group < kGroups; ++group) {
      const int lane = Lane(), token = group * Mix::kGroup + Mix::TokenOf(lane);
      const typename Mix::Weights words =
          Mix::WeightsOf(lane, Coefficients(turn) + token * sizes_.coefficient_pitch);
      uint4* to = reinterpret_cast<uint4*>(Weights(turn) + group * kGroupWords) + lane;
      to[0] = {words.high[0], words.high[1], words.high[2], words.high[3]};
      to[32] = {words.low[0], words.low[1], words.low[2], words.low[3]};
      if constexpr (Mix::kPostWords == 4) {
        to[64] = {words.post[0], words.post[1], words.post[2], words.post[3]};
      } else {
        reinterpret_cast<uint2*>(to - lane + 64)[lane] = {words.post[0], words.post[1]};
      }
    }
  }
};

// Sends the sums of the block's warps.
template <typename Block>
class MixedGatherer : private Block {
 public:
  using Block::Block;

  __device__ void Run() const {
    for (int turn = 0; turn < tiles_.Turns(); ++turn) {
      MBarrierWait(Barriers().PartsFull(), turn % 2);
      SendSums({Parts(), geometry_.warps, kTile, sizes_.sum_pitch, sizes_.sums},
               {Received(turn), rank_, sizes_.owned, Barriers().SumsCome(turn)});
      WarpArrive(Barriers().PartsFree());
    }
  }

 private:
  using Block::Barriers;
  using Block::geometry_;
  using Block::kTile;
  using Block::Parts;
  using Block::rank_;
  using Block::Received;
  using Block::sizes_;
  using Block::tiles_;
};

}  // namespace birkhoff::cuda
