// Measures one job for the metrics: counts its events, remembers its recent steps, and keeps a
// ledger of where its time went.  Pure.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "coordinator/fleet_metrics.h"
#include "coordinator/job.h"
#include "coordinator/spike_watch.h"
#include "coordinator/step_window.h"
#include "core/base/clock.h"
#include "core/plan/plan.h"

namespace birkhoff {

class JobMeter {
 public:
  explicit JobMeter(absl::Duration window) : window_(window) {}

  // The job took an event of an earlier process: its times count, its numbers do not.
  void Replayed(absl::Time wall, const JobEvent& event);
  // From now on time counts.  Again: nothing.
  void Begin(Instant now, const Job& job);
  // `job` has taken the event.  `now` must not go backwards.
  void Took(Instant now, absl::Time wall, const JobEvent& event, const Job& job);
  // Any rank's word of a step; Took hears only those of rank 0.
  void Heard(const Job& job, int rank, const StepReport& report);
  // What the ranks of the latest attempt hold, by its plan; null: the plan is lost.
  void Holds(const Job& job, const Plan* plan);
  bool knows_memory() const { return knows_memory_; }

  JobMetrics Read(Instant now, const Job& job) const;

 private:
  void Stepped(Instant now, absl::Time wall, const StepReport& report);
  void Spend(Instant now);
  void Count(StabilityEvent event) { ++counts_.events[static_cast<int>(event)]; }
  void NeedRanks(const Job& job);

  JobMetrics counts_;  // what is counted here; Read fills in the rest
  StepWindow window_;
  SpikeWatch loss_{kLossSpike};
  SpikeWatch gradient_{kGradientSpike};
  std::optional<Instant> spent_until_;  // empty: time does not count yet
  JobState state_ = JobState::kQueued;  // in which it is spent
  int64_t best_step_ = 0;               // that some attempt has finished
  bool knows_memory_ = false;
  int64_t failed_checkpoint_ = 0;  // step of the latest that a rank could not write
};

}  // namespace birkhoff
