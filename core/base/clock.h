// Time as a seam: drivers own a Clock, pure cores take `Instant now` as an argument.
#pragma once

#include <compare>
#include <cstdint>

#include "absl/time/time.h"

namespace birkhoff {

// A point on a steady clock; only differences mean anything.
struct Instant {
  int64_t nanoseconds = 0;

  friend auto operator<=>(const Instant&, const Instant&) = default;
  friend absl::Duration operator-(Instant a, Instant b) {
    return absl::Nanoseconds(a.nanoseconds - b.nanoseconds);
  }
  friend Instant operator+(Instant a, absl::Duration d) {
    return {a.nanoseconds + absl::ToInt64Nanoseconds(d)};
  }
};

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant Now() const = 0;          // steady; for time-outs and measurements
  virtual absl::Time WallTime() const = 0;  // for people only
};

class SystemClock final : public Clock {
 public:
  Instant Now() const override;
  absl::Time WallTime() const override;
};

}  // namespace birkhoff
