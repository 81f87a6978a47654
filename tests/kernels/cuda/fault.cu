// A trap: nothing is wrong with the launch, and the first who waits for it hears of it.
#include "tests/kernels/cuda/fault.h"

namespace birkhoff {
namespace {

__global__ void FaultKernel() { __trap(); }

}  // namespace

void LaunchFault(cuda::StreamHandle stream) { FaultKernel<<<1, 1, 0, stream>>>(); }

}  // namespace birkhoff
