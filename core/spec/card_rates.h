// What the kernels of jobs were measured to take on one card: the lines of a card file
// (docs/calibration.md) that planning reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

struct Numerics;  // resolve.h

// Nanoseconds for one micro-batch.
struct UnitTimes {
  int64_t forward = 0;
  int64_t backward_input = 0;
  int64_t backward_weight = 0;
  int64_t recompute = 0;
  friend bool operator==(const UnitTimes&, const UnitTimes&) = default;
};

struct ShapeTimes {
  UnitTimes first = {};      // the first sub-layer, attention, with the embedding
  UnitTimes attention = {};  // any other
  UnitTimes feed_forward = {};
  UnitTimes head = {};
  double norm_ns = 0.0, update_ns = 0.0;  // of the step's end, for each parameter element
  friend bool operator==(const ShapeTimes&, const ShapeTimes&) = default;
};

struct CardRates {
  std::string card;                            // and its libraries, for people
  std::map<std::string, ShapeTimes> by_shape;  // ShapeKey
  friend bool operator==(const CardRates&, const CardRates&) = default;
};

// All that the times of a unit depend on: model but for its depth, micro-batch, numerics.
std::string ShapeKey(const JobSpec& spec, const Numerics& numerics);

// "birkhoff card 1", "card: CARD", then for each shape
//   "shape: KEY"
//   "time: UNIT FORWARD BACKWARD-INPUT BACKWARD-WEIGHT RECOMPUTE"   for each of the four
//   "step: NORM UPDATE"
std::string CardRatesToText(const CardRates& rates);
// Lines of other kinds are left alone.  INVALID_ARGUMENT: no card file of this version, or a line
// that is none, which is named.
absl::StatusOr<CardRates> CardRatesFromText(const std::string& text);

}  // namespace birkhoff
