// Whether this program has machine code for a GPU.
#pragma once

#include "absl/status/status.h"

namespace birkhoff::cuda {

// Of the GPU that is current.  UNIMPLEMENTED: none; the message says which GPU it is, what the
// program has, and the remedy.
absl::Status CheckKernelImage();

}  // namespace birkhoff::cuda
