// One line of a daemon's log.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace birkhoff {

// "2026-11-26T11:48:08.123Z text": ISO 8601 in UTC to the millisecond, so that the logs of all
// machines sort together; the text is made printable.  No newline.
std::string LogLine(absl::Time wall, std::string_view text);

}  // namespace birkhoff
