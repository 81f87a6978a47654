// Jobs, what happened to them, and workers, as others may see them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/job.h"
#include "coordinator/job_store.h"
#include "core/protocol/messages.h"

namespace birkhoff {

// A job as everybody may see it.
struct JobView {
  std::string name;  // "jobs/tiny"
  JobSpec spec;      // resolved
  int64_t total_steps = 0;
  JobState state = JobState::kQueued;
  JobReason reason;
  ExitCode exit_code = ExitCode::kDone;  // meaningful once IsOver(state)
  int attempt = 0;                       // the latest; 0: none yet
  int restarts = 0;                      // attempts lost so far
  int priority = 0;
  std::string output_directory;
  std::string plan_hash;  // empty before the first plan
  absl::Time create_time;
  absl::Time update_time;
  std::vector<std::string> workers;          // of the latest attempt, by rank
  std::optional<StepReport> last_step;       // empty before the first
  std::optional<CheckpointInfo> checkpoint;  // empty before the first
  int64_t last_event_id = 0;
  std::string page_token;  // of ListJobs: the page that begins after this job
};

// One thing that happened, for watchers.  Ids ascend within a job and never change.
struct JobUpdate {
  struct StateChange {
    JobState state = JobState::kQueued;
    JobReason reason;
    ExitCode exit_code = ExitCode::kDone;
  };
  struct Placed {
    std::string plan_hash;
    std::vector<std::string> workers;  // by rank
  };
  struct FailedCheckpoint {
    int rank = 0;
    int64_t step = 0;
    std::string reason;
  };
  struct Notice {
    std::string code;  // of Noticed (messages.h)
    int64_t step = 0;
    std::string sentence;
  };
  struct Exited {
    int rank = 0;
    ExitCode code = ExitCode::kDone;
    std::string reason;
  };
  int64_t id = 0;
  absl::Time time;
  int attempt = 0;
  std::optional<StateChange> state;  // where this changed the state
  // At most one of these; none: the state change is all.
  std::optional<StepReport> step;
  std::optional<CheckpointInfo> checkpoint;
  std::optional<Placed> placed;
  std::optional<Exited> exited;
  std::optional<FailedCheckpoint> failed_checkpoint;
  std::optional<Notice> notice;
};

enum class WorkerState { kIdle = 1, kBusy = 2, kLost = 3 };

struct WorkerView {
  WorkerResources resources;
  WorkerState state = WorkerState::kIdle;
  std::string address;
  std::string job;  // that it works for; empty: none
  int attempt = 0;
  int rank = 0;
  absl::Time last_heard;
};

// All but the times and the last event's id, which the coordinator knows.
JobView MakeJobView(const Job& job, bool with_spec = true);

// What the event made of the job, for StoredEvent; `before` and `after` are the states around it.
void DescribeChange(const Job& before, const Job& after, StoredEvent* stored);

absl::StatusOr<JobUpdate> MakeJobUpdate(const StoredEvent& stored);  // DATA_LOSS

}  // namespace birkhoff
