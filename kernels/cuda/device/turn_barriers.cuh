// What the warps of a single-pass kernel say to each other, turn by turn.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

// Which of `count` that take turns is turn's.  Turns are not negative, which the compiler would
// allow for at every use.
__device__ inline int InTurn(int turn, int count) { return int(unsigned(turn) % unsigned(count)); }

// Who waits for what, of turn t; a barrier of its own for even and odd turns where somebody may be
// two phases ahead.
//   PartsFull         all warps have left their sums        the gatherer
//   PartsFree         the gatherer has read them            the warps, before those of t + 1
//   CoefficientsCome  they have been copied                 the warps
//   SumsCome          of all blocks, of the owned tokens    the finisher
//   ReturnsCome       what the finishers made of the sums   the warps
// A block sends sums of t + 2 when its warps are done with the returns of t, which came when every
// finisher was done with the sums of t; a finisher sends returns of t + 2 when it has the sums of
// t + 2, so that its peers' warps are done with the returns of t.
class TurnBarriers {
 public:
  // at: [kTurnBarriers] in shared memory.
  __device__ explicit TurnBarriers(uint64_t* at) : at_(at) {}

  __device__ uint64_t* PartsFull() const { return at_; }
  __device__ uint64_t* PartsFree() const { return at_ + 1; }
  __device__ uint64_t* CoefficientsCome(int turn) const { return at_ + 2 + InTurn(turn, 2); }
  __device__ uint64_t* SumsCome(int turn) const { return at_ + 4 + InTurn(turn, 2); }
  __device__ uint64_t* ReturnsCome(int turn) const { return at_ + 6 + InTurn(turn, 2); }

  // Of one thread, for all.  warps: that own channels.
  __device__ void Init(int warps) const {
    MBarrierInit(PartsFull(), warps);
    MBarrierInit(PartsFree(), 1);
    for (int turn = 0; turn < 2; ++turn) {
      MBarrierInit(CoefficientsCome(turn), 1);
      MBarrierInit(SumsCome(turn), 1);
      MBarrierInit(ReturnsCome(turn), 1);
    }
    MBarriersReady();
  }

 private:
  uint64_t* const at_;
};

// One arrival for the whole warp, behind what its lanes did.
__device__ inline void WarpArrive(uint64_t* barrier) {
  WarpBarrier();
  if (threadIdx.x % 32 == 0) MBarrierArrive(barrier);
}

}  // namespace birkhoff::cuda
