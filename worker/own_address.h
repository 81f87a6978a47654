// The address of this machine that its peers reach, where nobody has named one.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace birkhoff {

// The address of the interface that leads to `peer`, "HOST:PORT" or "[IPV6]:PORT", as digits.
// Sends nothing; looks a name up, which may block.
// Errors: INVALID_ARGUMENT no such form; UNAVAILABLE the name is unknown or no route leads there.
absl::StatusOr<std::string> OwnAddressTowards(const std::string& peer);

}  // namespace birkhoff
