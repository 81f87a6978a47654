// The coordinator's driver: owns the jobs, the worker registry and the one mutex; knows no gRPC.
//
// Events are appended to the store before anything is done about them, but for step reports, which
// wait for the job's next other event or tick.  Messages are handed to their links under the lock,
// callbacks are called outside it.  Recovery is a replay of the store through the same state
// machine; after it every worker gets one full lease to come back, and attempts go on.
//
// Thread-safe.  The store, the clock and the planner must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/fleet_metrics.h"
#include "coordinator/job.h"
#include "coordinator/job_event.h"
#include "coordinator/job_store.h"
#include "core/base/clock.h"
#include "core/plan/plan.h"
#include "core/protocol/messages.h"
#include "core/spec/problem.h"

namespace birkhoff {

// One way to one worker.  Send queues the message, or begins to write it, and returns: it waits for
// nobody and never calls the coordinator back.  What cannot be sent is lost, and the worker hears
// what it must after a reconnect.  Any thread; called with the coordinator's lock held.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;
  virtual void Send(CoordinatorMessage message) = 0;
};

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

struct SubmitRequest {
  JobSpec spec;            // needs a resolved, valid spec
  std::string request_id;  // empty: none; else repeating it returns the first job
  int priority = 0;        // larger goes first
  // As the workers see it.  One that ends in "/" is the parent: the job gets a directory of its own
  // name in there.  Empty: "runs/".
  std::string output_directory;
  bool fresh = false;                // forget checkpoints found there
  std::vector<std::string> changes;  // needs CheckAskedChanges; which fields may differ from theirs
  std::string init_from;  // where the weights come from where none are found; empty: random
};

struct ListRequest {
  int page_size = 0;             // 0: 50; above 1000: 1000
  std::string page_token;        // opaque
  std::vector<JobState> states;  // empty: all
  bool with_spec = false;        // false: JobView::spec is left out
};
struct JobPage {
  std::vector<JobView> jobs;    // newest first
  std::string next_page_token;  // empty: that was all
};

struct CoordinatorOptions {
  absl::Duration heartbeat = absl::Seconds(1);
  absl::Duration lease = absl::Seconds(5);
  // So long a worker that was lost still counts as one that there is, and a new coordinator waits
  // for those it does not know yet, before a job that needs more than there are holds up no others.
  absl::Duration come_back = absl::Minutes(1);
  absl::Duration stop_grace = absl::Seconds(60);   // from StopAttempt to AbortAttempt
  absl::Duration abort_grace = absl::Seconds(10);  // from AbortAttempt to giving a rank up
  // An attempt of which nothing has moved for this long, and for ten times its longest step more,
  // is ended and goes on elsewhere (ProgressWatch).
  absl::Duration progress_limit = absl::Minutes(20);
  absl::Duration metrics_retention = absl::Minutes(15);  // of an ended job's series
  absl::Duration metrics_window = absl::Minutes(1);      // of the largest recent values
  // Gets one line for each change of a job's state, and for what befalls the coordinator itself
  // (its store, its planner, a standstill); any thread, without the lock.  May be null.
  std::function<void(const std::string&)> log;
};

class Coordinator {
 public:
  // CompilePlan, or a test's stand-in.
  using Planner = std::function<absl::StatusOr<Plan>(const JobSpec&, const ClusterSpec&)>;

  // Replays the store.  Errors: DATA_LOSS an event cannot be read; the store's own.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Create(const CoordinatorOptions& options,
                                                             const Clock& clock, JobStore& store,
                                                             Planner planner);
  virtual ~Coordinator() = default;

  // --- people ---
  // ALREADY_EXISTS: a living job has the name, or the request id came with another request.
  virtual absl::StatusOr<JobView> Submit(const SubmitRequest& request) = 0;
  virtual absl::StatusOr<JobView> GetJob(const std::string& name) const = 0;  // NOT_FOUND
  // INVALID_ARGUMENT: a page size below 0, an unknown token.
  virtual absl::StatusOr<JobPage> ListJobs(const ListRequest& request) const = 0;
  // Clean stop at a committed checkpoint, abort after the grace.  Repeating it is harmless.
  // NOT_FOUND; FAILED_PRECONDITION: SUCCEEDED or FAILED already.
  virtual absl::StatusOr<JobView> Cancel(const std::string& name) = 0;
  // The plan of the latest attempt.  NOT_FOUND; FAILED_PRECONDITION: none yet.
  virtual absl::StatusOr<Plan> GetPlan(const std::string& name) const = 0;
  virtual std::vector<WorkerView> ListWorkers() const = 0;  // by name

  // --- watchers ---
  // Events with larger ids, at most `limit`, oldest first; empty when there are none yet.
  // NOT_FOUND; OUT_OF_RANGE: the id lies in the future.
  virtual absl::StatusOr<std::vector<JobUpdate>> ReadUpdates(const std::string& name,
                                                             int64_t after_id, int limit) const = 0;
  // ReadUpdates, but waits up to `timeout` of real time for the first one.
  virtual absl::StatusOr<std::vector<JobUpdate>> WaitForUpdates(const std::string& name,
                                                                int64_t after_id, int limit,
                                                                absl::Duration timeout) const = 0;
  // Calls `wake` (without the lock, from any thread) whenever the job has new events, until the
  // returned token goes.  The token's destructor waits for a running call.
  class Subscription {
   public:
    virtual ~Subscription() = default;
  };
  virtual std::unique_ptr<Subscription> Subscribe(const std::string& name,
                                                  std::function<void()> wake) = 0;

  // --- workers ---
  // Takes one message; `link` stays registered for the worker until Disconnected(link).  Errors:
  // UNAVAILABLE the store refuses, or another living process has the worker's name: close the link,
  // the worker will say it again.
  virtual absl::Status Handle(const WorkerMessage& message, WorkerLink* link) = 0;
  virtual void Disconnected(WorkerLink* link) = 0;  // afterwards `link` is not used any more

  // --- time ---
  // Looks for ended leases and graces, writes out step reports.  Call kTicksPerHeartbeat times per
  // heartbeat: where more than a heartbeat has passed since the last call, this process was stopped
  // or slow itself, and all leases and graces last longer by as much.  Never throws.
  static constexpr int kTicksPerHeartbeat = 4;
  virtual absl::Status Tick() = 0;

  // What the store said to the latest append; that it is damaged stays true for good.
  virtual absl::Status StoreStatus() const = 0;

  virtual FleetMetrics Metrics() const = 0;
};

}  // namespace birkhoff
