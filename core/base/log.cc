// Abseil writes the time, printable.h what somebody else may have said.
#include "core/base/log.h"

#include "absl/strings/str_cat.h"
#include "core/base/printable.h"

namespace birkhoff {

std::string LogLine(absl::Time wall, std::string_view text) {
  return absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", wall, absl::UTCTimeZone()), " ",
                      Printable(text));
}

}  // namespace birkhoff
