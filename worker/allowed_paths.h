// Where the operator of a worker lets jobs read and write.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/protocol/messages.h"

namespace birkhoff {

// Whether all that the assignment has this worker touch lies within one of `directories` each,
// links followed; none: everything may be touched.  INVALID_ARGUMENT names every field that does
// not, and its path.
absl::Status CheckAllowedPaths(const std::vector<std::string>& directories,
                               const Assignment& assignment);

}  // namespace birkhoff
