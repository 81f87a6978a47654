// What the rest of the GPU backend needs of its device beyond the seam: CUDA's own handles.
#pragma once

#include "kernels/cuda/ops.h"
#include "kernels/device.h"

namespace birkhoff::cuda {

// CUDA's stream behind one that a device of cuda::NewDevice made.  Makes the stream's GPU current
// for the calling thread, as launches need.
StreamHandle Enter(Stream& stream);

// Makes a device of cuda::NewDevice current for the calling thread.
void Enter(Device& device);

}  // namespace birkhoff::cuda
