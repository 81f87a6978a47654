// What the metrics endpoint shows, as plain values: one snapshot of the jobs, the fleet and the
// coordinator itself.  docs/metrics.md says what each means.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/job_event.h"
#include "coordinator/step_window.h"
#include "core/base/histogram.h"
#include "core/protocol/step_report.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Upper bounds of the histograms, in seconds.
inline constexpr double kStepSecondsBounds[] = {0.001, 0.003, 0.01, 0.03, 0.1,  0.3,
                                                1.0,   3.0,   10.0, 30.0, 100.0};
inline constexpr double kStoreSecondsBounds[] = {0.0001, 0.0003, 0.001, 0.003, 0.01,
                                                 0.03,   0.1,    0.3,   1.0,   3.0};
inline constexpr double kLockSecondsBounds[] = {0.00001, 0.0001, 0.001, 0.003, 0.01,
                                                0.03,    0.1,    0.3,   1.0};

enum class StabilityEvent { kSkippedStep, kLossSpike, kGradientSpike, kGainAbove };
inline constexpr int kNumStabilityEvents = 4;
const char* StabilityEventName(StabilityEvent event);  // "skipped_step"

inline constexpr int kNumJobStates = static_cast<int>(JobState::kCancelled) + 1;

// One rank of the latest attempt.
struct RankMetrics {
  std::string worker;
  std::optional<double> compute_seconds;                // of its last step
  std::vector<std::pair<const char*, int64_t>> memory;  // bytes by kind; empty: no plan is known
};

struct JobMetrics {
  std::string job;
  JobState state = JobState::kQueued;
  int attempt = 0;  // the latest; 0: none yet
  int restarts = 0;
  ResidualKind residual = ResidualKind::kMhc;
  ScheduleKind schedule = ScheduleKind::kDualPipeV;
  int64_t total_steps = 0;
  int64_t checkpoint_interval = 0;  // steps; 0: none but the last
  double max_gain = 0.0;
  std::optional<StepReport> last_step;
  std::optional<double> sinkhorn_residual;                 // of the last step; mHC only
  std::optional<double> validation_loss;                   // the latest
  absl::Time last_step_time = absl::InfinitePast();        // none yet
  absl::Time last_checkpoint_time = absl::InfinitePast();  // none yet
  std::optional<int64_t> last_checkpoint_step;
  std::optional<StepMaxima> window;  // over metrics_window; empty: no step in it
  int64_t tokens_total = 0;
  // Since this process knows the job.
  uint64_t steps = 0;
  Histogram step_seconds{kStepSecondsBounds};
  uint64_t checkpoints = 0;
  uint64_t failed_checkpoints = 0;
  std::array<uint64_t, kNumStabilityEvents> events = {};  // by StabilityEvent
  std::array<double, kNumJobStates> seconds_in = {};      // by JobState
  double productive_seconds = 0.0;  // in steps that no attempt had done before
  std::vector<RankMetrics> ranks;
};

struct FleetMetrics {
  std::vector<JobMetrics> jobs;  // living, or over for less than metrics_retention
  int workers_idle = 0;
  int workers_busy = 0;
  int workers_lost = 0;
  int queue_length = 0;
  absl::Time waits_since = absl::InfiniteFuture();  // of the job that waits longest; none waits
  bool store_refuses = false;
  Histogram store_commit_seconds{kStoreSecondsBounds};
  uint64_t store_refusals = 0;  // commits that failed
  int64_t unwritten_events = 0;
  Histogram lock_held_seconds{kLockSecondsBounds};
};

}  // namespace birkhoff
