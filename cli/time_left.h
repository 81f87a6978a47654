// How long a job will still take, from the steps that it has done: pure, times are arguments.
#pragma once

#include <cstdint>
#include <deque>

#include "absl/time/time.h"
#include "core/protocol/step_report.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

class TimeLeft {
 public:
  // Validations and checkpoints are counted as the spec asks for them.
  explicit TimeLeft(const JobSpec& spec);

  // A step was reported at `now`.  A step that does not follow the one before tells nothing of its
  // time: so it is with the first one of an attempt.
  void Step(const StepReport& report, absl::Time now);
  // Until the last step is done, from the last report on.  Zero before there is one; after one only,
  // as if all steps took as long as that, which is the slowest.
  absl::Duration Left() const;

 private:
  // Of what came last: seconds.
  using Samples = std::deque<double>;

  bool CheckpointAfter(int64_t step) const;
  int64_t ValidationsUpTo(int64_t step) const;
  int64_t CheckpointsUpTo(int64_t step) const;

  const int64_t steps_;
  const int64_t validation_interval_;  // 0: none
  const int64_t checkpoint_interval_;  // 0: at the end only
  const double validation_in_steps_;   // a guess, until one was seen
  Samples plain_;                      // from report to report, with nothing in between
  Samples validation_, checkpoint_;    // above a plain one
  double first_step_ = 0.0;            // what it took, by its own report
  int64_t last_step_ = 0;
  absl::Time last_time_;
};

}  // namespace birkhoff
