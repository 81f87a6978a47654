// Where exceptions end.  Ours never throw, but memory runs out and libraries throw: what a thread
// or a handler does as a whole is done through Guarded, which turns what comes out into a status.
#pragma once

#include "absl/status/status.h"

namespace birkhoff {

// What the exception that is being handled means: RESOURCE_EXHAUSTED where memory ran out, else
// INTERNAL; the message begins with `what`.  Only within a catch block.  Where there is not even
// memory for the message it is empty.
absl::Status StatusOfException(const char* what) noexcept;

// What `work` returns, which is an absl::Status or StatusOr, or what it threw as a status.
template <typename Work>
auto Guarded(const char* what, Work&& work) -> decltype(work()) {
  try {
    return work();
  } catch (...) {
    return StatusOfException(what);
  }
}

}  // namespace birkhoff
