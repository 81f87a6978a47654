// What can happen to a job: the events that are logged and from which its state is a fold, and what
// must be done about them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/protocol/messages.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Numbers are on the wire (job.proto) and in stored events: never change one.
enum class JobState {
  kQueued = 1,
  kStarting = 2,
  kRunning = 3,
  kRecovering = 4,
  kCancelling = 5,
  kSucceeded = 6,
  kFailed = 7,
  kCancelled = 8,
};
const char* JobStateName(JobState state);  // "QUEUED"
inline bool IsOver(JobState state) { return state >= JobState::kSucceeded; }

// A worker's place in an attempt: which life of which worker.
struct PlacedWorker {
  std::string worker;        // "workers/host-0"
  uint64_t incarnation = 0;  // a younger life of the same worker is not part of the attempt
  friend bool operator==(const PlacedWorker&, const PlacedWorker&) = default;
};

// Somebody asked for the job.  Always the first event.
struct JobCreated {
  std::shared_ptr<const JobSpec> spec;  // resolved; shared by all copies of the job's state
  std::string request_id;               // empty: none
  int priority = 0;
  std::string output_directory;
  bool fresh = false;
  std::vector<std::string> changes;  // as in Assignment
  std::string init_from;             // likewise
};
// An attempt was handed to workers.  `plan_hash` names the plan that it executes; the next attempt
// on a cluster of the same shape executes it too.
struct AttemptPlaced {
  int attempt = 0;
  std::vector<PlacedWorker> workers;  // by global rank
  std::string plan_hash;
  std::string cluster_shape;  // opaque
};
// The spec cannot be planned on the workers there are.
struct PlanRefused {
  std::string reason;
  ExitCode code = ExitCode::kBadSpec;
};
// The spec cannot be planned on the workers that are idle now; it waits for others, or for better
// times.  Said again only with another reason.
struct PlanDeferred {
  std::string code;    // JobReason::code
  std::string reason;  // one sentence
};
// A worker's lease ran out, or another life of it registered.
struct WorkerLost {
  int attempt = 0;
  int rank = 0;
  std::string reason;
};
struct CancelRequested {};
// The time for a clean end is over: what still runs is killed, or given up as lost.
struct GraceOver {
  int attempt = 0;
};
// No rank of the attempt has moved for longer than any step takes.
struct AttemptStuck {
  int attempt = 0;
  int rank = 0;        // that is to blame
  std::string reason;  // what it was at, whom it waits for
};
// RankReady, StepDone, ShardDurable, CheckpointCommitted, CheckpointFailed, RankExited come from
// workers (messages.h), Noticed from them or from the coordinator.
using JobEvent =
    std::variant<JobCreated, AttemptPlaced, PlanRefused, RankReady, StepDone, ShardDurable,
                 CheckpointCommitted, CheckpointFailed, RankExited, WorkerLost, CancelRequested,
                 GraceOver, PlanDeferred, Noticed, AttemptStuck>;

// What must be done about an event, in order.
struct StartRank {  // the coordinator adds spec, plan and addresses
  int rank = 0;
};
struct SendToRank {
  int rank = 0;
  CoordinatorMessage message;
};
struct ReleaseRank {  // the rank is gone: its worker may take other work
  int rank = 0;
};
using JobEffect = std::variant<StartRank, SendToRank, ReleaseRank>;

}  // namespace birkhoff
