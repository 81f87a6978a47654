// Where the kernels of one call go.
#pragma once

#include "kernels/backend.h"

namespace birkhoff {

// Borrowed.
template <typename T>
struct Launch {
  Backend<T>& backend;
  Stream& stream;
  void* workspace = nullptr;  // WorkspaceBytes of core/spec/workspace.h; calls take turns
};

}  // namespace birkhoff
