// Which part of a tile a thread of a single-pass kernel owns (single_pass.h).
#pragma once

#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/single_pass.h"

namespace birkhoff::cuda {

// A base of the kernels' classes.  Asks anew who the thread is each time that it is made: what the
// compiler makes of that beforehand, for the whole loop, would take registers that tiles need.
class TileLane {
 protected:
  // rank: of the block; warps: of a block that own channels.
  __device__ TileLane(int rank, int warps, int channels)
      : thread_(ThreadIndex()),
        warp_(int(unsigned(thread_) / 32)),
        g_(int(unsigned(thread_) % 32 / 4)),
        t_(int(unsigned(thread_) % 4)),
        channel_((rank * warps + warp_) * kWarpChannels + 8 * t_),
        inside_(warp_ < warps && channel_ < channels) {}

  const int thread_, warp_, g_, t_;
  const int channel_;  // the first of the lane's 8
  const bool inside_;
};

}  // namespace birkhoff::cuda
