// SystemClock: the standard library's steady clock, and Abseil's wall clock.
#include "core/base/clock.h"

#include <chrono>

#include "absl/time/clock.h"

namespace birkhoff {

Instant SystemClock::Now() const {
  const auto since_epoch = std::chrono::steady_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count()};
}

absl::Time SystemClock::WallTime() const { return absl::Now(); }

}  // namespace birkhoff
