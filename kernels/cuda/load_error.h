// Why the GPU backend cannot be opened, in words that say what to do.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace birkhoff::cuda {

// UNIMPLEMENTED, from what dlopen says: "FILE: cannot open shared object file: ...", or anything.
absl::Status LoadError(absl::string_view reason);

}  // namespace birkhoff::cuda
