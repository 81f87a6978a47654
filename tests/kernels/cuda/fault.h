// A kernel that fails.
#pragma once

#include "kernels/cuda/ops.h"

namespace birkhoff {

// The launch is good; the kernel ends its context.
void LaunchFault(cuda::StreamHandle stream);

}  // namespace birkhoff
