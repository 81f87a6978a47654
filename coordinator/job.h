// The life of one training job as pure state: no clock, thread, socket or file in here.
//
//   QUEUED --placed--> STARTING --all ranks ready--> RUNNING --all ranks done--> SUCCEEDED
//                       ^    |                         |
//        placed again   |    +---- a rank is lost -----+---- bad spec, numerics, -> FAILED
//                       |    v                               restarts used up
//                      RECOVERING
//
//   any of them --cancel--> CANCELLING --all ranks gone--> CANCELLED
//
// An attempt's number is its fencing epoch: events of another attempt are refused.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/job_event.h"
#include "core/base/clock.h"

namespace birkhoff {

struct JobReason {
  std::string code;      // "WORKER_LOST"; stable
  std::string sentence;  // for people
  friend bool operator==(const JobReason&, const JobReason&) = default;
};

// JobReason::code of a job that waits for workers, and for a plan after one has failed.
inline constexpr char kWaitingForWorkers[] = "WAITING_FOR_WORKERS";
inline constexpr char kPlanDeferred[] = "PLAN_DEFERRED";
// JobReason::code of a job that waits because no workers with enough memory are idle.
inline constexpr char kNoRoom[] = "NO_ROOM";
// Of a job whose attempt was lost to a disk that is full, read-only or broken.
inline constexpr char kDiskTrouble[] = "DISK_TROUBLE";

struct CheckpointInfo {
  int64_t step = 0;
  std::string path;
  std::string checksum;  // of manifest.json
};

struct JobGraces {
  absl::Duration stop = absl::Seconds(60);   // from StopAttempt to AbortAttempt
  absl::Duration abort = absl::Seconds(10);  // from AbortAttempt to giving a rank up
};

// One rank of the latest attempt.
struct JobRank {
  PlacedWorker worker;
  bool ready = false;
  int64_t failed_checkpoint = 0;  // step of the latest that it could not write
  bool gone = false;              // exited or lost; `code` and `reason` say how
  ExitCode code = ExitCode::kDone;
  std::string reason;
  bool disk = false;  // a disk was the reason
};

// Copyable: the coordinator steps a copy, logs the event, and then keeps the copy.
class Job {
 public:
  explicit Job(std::string name, JobGraces graces = {});

  // Applies one event seen at `now`, which must not go backwards; returns what must be done about
  // it, in order.
  // Errors, with nothing changed: ABORTED the event belongs to another attempt; ALREADY_EXISTS it
  // was applied before; FAILED_PRECONDITION it does not fit the state; INVALID_ARGUMENT it can
  // never be right: no such rank or notice, another number of workers, no spec.
  absl::StatusOr<std::vector<JobEffect>> Step(Instant now, const JobEvent& event);

  // What people must know about a step before they see it: that this history lacks steps before it,
  // that its gain crosses stability.max_gain, that its streams have collapsed.  Each is an event to be applied before the step.
  std::vector<Noticed> NoticesAbout(const StepDone& step) const;
  // The event that the passing of time alone has brought about, if any.
  std::optional<JobEvent> Due(Instant now) const;
  // Nobody could be heard for so long: a grace that runs ends later by as much.
  void ExtendGrace(absl::Duration by);
  // What the worker of `rank` must hear again after its connection was cut.
  std::vector<JobEffect> Resync(int rank) const;
  // Whether an attempt may be placed.
  bool WantsWorkers(Instant now) const;

  const std::string& name() const { return name_; }
  const JobCreated& request() const { return request_; }
  const JobSpec& spec() const { return *request_.spec; }
  JobState state() const { return state_; }
  const JobReason& reason() const { return reason_; }
  ExitCode exit_code() const { return exit_code_; }
  int attempt() const { return attempt_; }
  int restarts() const { return restarts_; }
  const std::vector<JobRank>& ranks() const { return ranks_; }
  const std::string& plan_hash() const { return plan_hash_; }
  const std::string& cluster_shape() const { return cluster_shape_; }
  const std::optional<StepReport>& last_step() const { return last_step_; }
  const std::optional<CheckpointInfo>& checkpoint() const { return checkpoint_; }
  // How often the gain has gone above stability.max_gain.
  int64_t times_above_bound() const { return times_above_bound_; }
  // Whether the next attempt must forget what lies in the output directory.
  bool fresh() const { return request_.fresh && !ever_running_; }
  // The state as text, for tests: equal texts, equal futures, but for the instants of delays, which
  // a replay does not keep.
  std::string ToString() const;

 private:
  using Effects = std::vector<JobEffect>;
  absl::StatusOr<Effects> On(Instant now, const JobCreated& event);
  absl::StatusOr<Effects> On(Instant now, const AttemptPlaced& event);
  absl::StatusOr<Effects> On(Instant now, const PlanRefused& event);
  absl::StatusOr<Effects> On(Instant now, const RankReady& event);
  absl::StatusOr<Effects> On(Instant now, const StepDone& event);
  absl::StatusOr<Effects> On(Instant now, const ShardDurable& event);
  absl::StatusOr<Effects> On(Instant now, const CheckpointCommitted& event);
  absl::StatusOr<Effects> On(Instant now, const CheckpointFailed& event);
  absl::StatusOr<Effects> On(Instant now, const RankExited& event);
  absl::StatusOr<Effects> On(Instant now, const WorkerLost& event);
  absl::StatusOr<Effects> On(Instant now, const CancelRequested& event);
  absl::StatusOr<Effects> On(Instant now, const GraceOver& event);
  absl::StatusOr<Effects> On(Instant now, const PlanDeferred& event);
  absl::StatusOr<Effects> On(Instant now, const Noticed& event);
  absl::StatusOr<Effects> On(Instant now, const AttemptStuck& event);

  // Whether the streams have become one, or are apart again.
  void AddStreamNotice(const StepReport& report, std::vector<Noticed>* notices) const;
  absl::Status CheckRank(int attempt, int rank) const;
  bool AllGone() const;
  bool MayBePlaced() const;
  void Enter(JobState state, std::string code, std::string sentence);
  Effects RankGone(Instant now, const RankExited& gone, const char* reason_code);
  void Abort(Instant now, const std::string& reason, Effects* effects);
  void Stop(Instant now, Effects* effects);
  void Settle(Instant now, Effects* effects);
  void SettleCancelled(bool clean);
  void SettleLost(Instant now);
  void SettleDisk(Instant now);
  void End(JobState state, ExitCode code, std::string reason_code, std::string sentence);
  void AnnounceEnd(Effects* effects) const;
  std::optional<CommitCheckpoint> CompleteCheckpoint() const;

  std::string name_;
  JobGraces graces_;
  JobCreated request_;  // spec null before JobCreated
  JobState state_ = JobState::kQueued;
  JobReason reason_;
  ExitCode exit_code_ = ExitCode::kDone;
  int attempt_ = 0;
  int restarts_ = 0;
  int restarts_in_row_ = 0;       // since the last new checkpoint
  int disk_restarts_in_row_ = 0;  // likewise, of attempts that were lost to a disk
  std::vector<JobRank> ranks_;
  std::string plan_hash_;
  std::string cluster_shape_;
  bool ever_running_ = false;
  bool aborting_ = false;                           // AbortAttempt is out; waiting for ranks to go
  std::optional<Instant> deadline_;                 // of the grace that runs
  Instant not_before_;                              // the next attempt waits until then
  std::map<int64_t, std::map<int, Shard>> shards_;  // by step and rank; not yet committed
  int64_t committed_in_attempt_ = 0;
  int64_t step_in_attempt_ = 0;
  // Up to here watchers have heard every step, or that it is missing; empty before the first.
  std::optional<int64_t> told_through_;
  int64_t resumed_step_ = 0;    // of the latest attempt that was ready
  int64_t output_removed_ = 0;  // the step in which this attempt has last seen it; 0: never
  bool gain_above_bound_ = false;
  bool streams_collapsed_ = false;
  int64_t times_above_bound_ = 0;
  std::optional<StepReport> last_step_;
  std::optional<CheckpointInfo> checkpoint_;
};

}  // namespace birkhoff
