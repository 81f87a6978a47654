// Ends the process where a kernel refuses its arguments: the stage gives them, so it is our bug.
#pragma once

#include "absl/status/status.h"
#include "core/base/check.h"

namespace birkhoff {

inline void Must(const absl::Status& status) {
  BIRKHOFF_CHECK(status.ok(), status.ToString().c_str());
}

}  // namespace birkhoff
