// Whether this build has the GPU backend, and whether it can run here.
#pragma once

#include "absl/status/status.h"

namespace birkhoff::cuda {

// OK: device: cuda can be used.  UNIMPLEMENTED: this build has no GPU backend; the message names
// the remedy.
absl::Status CudaAvailable();

}  // namespace birkhoff::cuda
