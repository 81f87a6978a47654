// The largest values of a job's steps over the last minute: between two scrapes a step that went
// wrong would be missed.  Pure.
#pragma once

#include <deque>
#include <optional>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/protocol/step_report.h"

namespace birkhoff {

// A value that was not finite counts as infinity.
struct StepMaxima {
  double loss = 0.0;
  double grad_norm = 0.0;
  double gain_forward = 0.0;  // composite, as GainReport::forward
  double gain_backward = 0.0;
  double sinkhorn_residual = 0.0;
};

// The largest distance from 1 of a row or column sum of a sub-layer's H_res: of each token's worst,
// in the mean over tokens.  What is left of the constraint of mHC; of HC it says nothing.
double SinkhornResidual(const GainReport& gain);

class StepWindow {
 public:
  explicit StepWindow(absl::Duration length) : length_(length) {}

  // `now` must not go backwards.
  void Add(Instant now, const StepReport& report);
  // Of the steps that were added less than the window's length ago; empty if there are none.
  std::optional<StepMaxima> Largest(Instant now) const;

 private:
  struct Entry {
    Instant time;
    StepMaxima values;
  };
  absl::Duration length_;
  std::deque<Entry> entries_;  // by time
};

}  // namespace birkhoff
