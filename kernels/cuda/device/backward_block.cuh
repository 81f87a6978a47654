// A block of the single-pass backward kernel: which tiles its cluster owns, what its warps say to
// each other, and where that lies in shared memory.
#pragma once

#include "kernels/cuda/device/cluster_tiles.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/device/turn_barriers.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

// Who waits for what, of turn t:
//   TileCome     the tile has been loaded                 the warps
//   TileDone     dX and dy_below stand in its place       the mover
//   PartsFull    all warps have left their sums           the gatherer
//   PartsFree    the gatherer has read them               the warps, before those of t + 1
//   SumsCome     of all blocks, of the owned tokens       the finisher, the gatherer
//   ReturnsCome  what the finishers made of the sums      the warps
// A barrier of its own for each stage, or for even and odd turns, where somebody may be phases ahead.
// A block sends sums of t + 2 when its warps are done with the returns of t, which came when every
// finisher was done with the sums of t; a finisher sends returns of t + 2 when it has the sums of
// t + 2, so that its peers' warps are done with the returns of t.
class BackwardBarriers {
 public:
  // at: [kBackwardBarriers] in shared memory.
  __device__ explicit BackwardBarriers(uint64_t* at) : at_(at) {}

  __device__ uint64_t* TileCome(int turn) const { return at_ + InTurn(turn, kBackwardStages); }
  __device__ uint64_t* TileDone(int turn) const {
    return at_ + kBackwardStages + InTurn(turn, kBackwardStages);
  }
  __device__ uint64_t* PartsFull() const { return at_ + 2 * kBackwardStages; }
  __device__ uint64_t* PartsFree() const { return at_ + 2 * kBackwardStages + 1; }
  __device__ uint64_t* SumsCome(int turn) const {
    return at_ + 2 * kBackwardStages + 2 + InTurn(turn, 2);
  }
  __device__ uint64_t* ReturnsCome(int turn) const {
    return at_ + 2 * kBackwardStages + 4 + InTurn(turn, 2);
  }
  // Of TileCome and TileDone.
  __device__ static int Parity(int turn) { return int(unsigned(turn) / kBackwardStages % 2); }

  // Of one thread, for all.
  __device__ void Init() const {
    for (int stage = 0; stage < kBackwardStages; ++stage) {
      MBarrierInit(TileCome(stage), 1);
      MBarrierInit(TileDone(stage), kBackwardWarps);
    }
    MBarrierInit(PartsFull(), kBackwardWarps);
    MBarrierInit(PartsFree(), 1);
    for (int turn = 0; turn < 2; ++turn) {
      MBarrierInit(SumsCome(turn), 1);
      MBarrierInit(ReturnsCome(turn), 1);
    }
    MBarriersReady();
  }

 private:
  uint64_t* const at_;
};

// N streams, kTiles of 8 columns of phi, kBoxes of 64 channels.
template <int N, int kTiles, int kBoxes>
class BackwardBlock {
 public:
  static constexpr SinglePassColumns kColumns = {N, kTiles, false};
  static constexpr int kTile = kBackwardTileTokens;
  static constexpr int kCoefficients = 2 * N + N * N;
  static_assert(kCoefficients <= 32, "a lane has one of each at most");
  // The tensor cores take rows of two streams at once; at n = 3 the fourth is the first once more,
  // with coefficients of 0.
  static constexpr int kPairs = (N + 1) / 2;

  // Sums over channels of a token (BackwardSizes).
  static constexpr int kDots = BackwardSizes::DotsOf(N);
  static constexpr int kOfY = N * N, kOfG = kOfY + N, kOfU = kOfG + N;

  // Words of a packet.  First what is known before the sums are: operands a of the tensor cores, whose
  // rows are two streams of the token and whose columns are the token of two streams, as bf16 in the
  // half of a word that the token has in its pair: of dX' [kPairs dX][kPairs dX'], high, then low;
  // H_pre / rms, high and low as rows [kPairs]; H_pre and H_post below in fp32, [4] each.  Then the
  // operand of x with itself; 1 / rms, the mean's part, the scale of dproducts; dproducts in fp16,
  // [tiles][4 lanes], pairs of columns; in bf16, high, then low, [tiles][4 lanes].
  static constexpr int kPacketHigh = 0, kPacketLow = 4 * kPairs * kPairs;
  static constexpr int kPacketRead = 2 * kPacketLow;
  static constexpr int kPacketPre = kPacketRead + 4 * kPairs, kPacketBelow = kPacketPre + 4;
  static constexpr int kPacketNorm = kPacketBelow + 4, kPacketScalars = kPacketNorm + 4;
  static constexpr int kPacketHalves = kPacketScalars + 4;
  static constexpr int kPacketProducts = kPacketHalves + 4 * kTiles;
  static constexpr int kPacket = BackwardSizes::PacketOf(kPairs, kTiles);
  static constexpr int kKnown = BackwardSizes::KnownOf(kPairs);
  static constexpr int kZeros = BackwardSizes::ZerosOf(kPairs);
  static_assert(kPacketNorm == kKnown && kKnown <= BackwardSizes::kScratch);
  static_assert(kPacketProducts + 8 * kTiles <= kPacket);

  __device__ BackwardBlock(const SingleBackwardArgs& args, unsigned char* shared)
      : args_(args),
        cluster_(args.geometry.cluster),
        sizes_({cluster_, kBackwardWarps, kBackwardStages, kBoxes}, kColumns),
        shared_(shared),
        rank_(ClusterRank()),
        tiles_(args.tokens, kTile, cluster_) {}

 protected:
  __device__ static int Lane() { return int(threadIdx.x) % 32; }
  // The tokens that this block finishes: none, of a cluster of more blocks than a tile has tokens.
  __device__ int Owned() const { return rank_ * sizes_.owned < kTile ? sizes_.owned : 0; }
  // Of the tile's tokens; of all.
  __device__ int OwnedLocal(int own) const { return rank_ * sizes_.owned + own; }
  __device__ int64_t OwnedToken(int turn, int own) const {
    return int64_t{tiles_.Tile(turn)} * kTile + OwnedLocal(own);
  }
  // Words of an owned token's packet, from `first` on, to all blocks: four lanes a block.
  template <int kWords>
  __device__ void SendWords(int turn, int own, int first, const uint32_t* words) const {
    static_assert(kWords % 4 == 0);
    uint32_t* to = Packets(turn) + OwnedLocal(own) * kPacket + first;
    const int lane = ThreadIndex() % 32;
#pragma unroll 1
    for (int block = lane / 4; block < cluster_; block += 8) {
#pragma unroll
      for (int word = 0; word < kWords; word += 16) {
        const int at = word + lane % 4 * 4;
        if (at >= kWords) continue;
        Send16(to + at, block, *reinterpret_cast<const uint4*>(words + at),
               Barriers().ReturnsCome(turn));
      }
    }
  }
  // N floats of a row; 16-byte aligned at n = 4.
  __device__ static void LoadRow(const float* from, float (&to)[N]) {
    if constexpr (N == 4) {
      const float4 all = *reinterpret_cast<const float4*>(from);
      to[0] = all.x, to[1] = all.y, to[2] = all.z, to[3] = all.w;
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j) to[j] = from[j];
    }
  }
  // Of all streams' first channel.
  __device__ int FirstChannel() const { return rank_ * kBoxes * kBoxChannels; }
  __device__ int FirstToken(int turn) const { return tiles_.Tile(turn) * kTile; }

  // ---- shared memory

  // A stage has boxes of dX' (in the end dX), of x, of y (in the end dy_below), of dnorm.
  static constexpr int kBox = kTile * kBoxChannels * 2;  // bytes, of one row a token
  static constexpr int kAtX = kBoxes * N * kBox, kAtY = 2 * kAtX, kAtNorm = kAtY + kBoxes * kBox;
  static constexpr int kStage = kAtNorm + kBoxes * kBox;
  __device__ SharedAt Stage(int turn) const {
    return SharedAddress(shared_) + InTurn(turn, kBackwardStages) * kStage;
  }
  // What the cluster's size does not move comes first, at places that the compiler knows.
  static constexpr BackwardSizes kSizes{{1, kBackwardWarps, kBackwardStages, kBoxes}, kColumns};
  static constexpr int kAtPhi = kBackwardStages * kStage, kAtGamma = kAtPhi + kSizes.phi;
  static constexpr int kAtParts = kAtGamma + kSizes.gamma, kAtPackets = kAtParts + kSizes.parts;
  static constexpr int kAtZeros = kAtPackets + 2 * kSizes.packets;
  static constexpr int kAtScratch = kAtZeros + kSizes.zeros;
  static constexpr int kAtBarriers = kAtScratch + 3 * BackwardSizes::kScratch * 4;
  static constexpr int kAtTail = kAtBarriers + kBackwardBarriers * 8;
  static constexpr int kAtReceived = kAtTail + BackwardSizes::kTail;
  static_assert(kAtReceived + 2 * kSizes.received == kSizes.total);
  template <typename T>
  __device__ T* Shared(int bytes) const {
    return reinterpret_cast<T*>(shared_ + bytes);
  }

  __device__ uint32_t* Phi() const { return Shared<uint32_t>(kAtPhi); }
  // [kBoxes * kBoxChannels]
  __device__ float* Gamma() const { return Shared<float>(kAtGamma); }
  // [warps][tokens][kDots]
  __device__ float* Parts() const { return Shared<float>(kAtParts); }
  // [tokens][kPacket]
  __device__ uint32_t* Packets(int turn) const {
    return Shared<uint32_t>(kAtPackets + InTurn(turn, 2) * kSizes.packets);
  }
  // [kZeros]: what a lane multiplies with that has nothing of its token.
  __device__ uint32_t* Zeros() const { return Shared<uint32_t>(kAtZeros); }
  // [kScratch] of a finisher; of the gatherer, the last.
  static constexpr int kGathererScratch = 2;
  __device__ float* Scratch(int warp) const {
    return Shared<float>(kAtScratch) + warp * BackwardSizes::kScratch;
  }
  __device__ BackwardBarriers Barriers() const {
    return BackwardBarriers(Shared<uint64_t>(kAtBarriers));
  }
  __device__ float* Tail() const { return Shared<float>(kAtTail); }
  // What the products with phi are to be multiplied with.
  __device__ float* InverseScale() const { return Tail() + 1; }
  // [blocks][owned][kDots]
  __device__ float* Received(int turn) const {
    return Shared<float>(kAtReceived + InTurn(turn, 2) * sizes_.received);
  }

  const SingleBackwardArgs& args_;
  const int cluster_;
  const BackwardSizes sizes_;
  unsigned char* const shared_;
  const int rank_;
  const ClusterTiles tiles_;
};

}  // namespace birkhoff::cuda
