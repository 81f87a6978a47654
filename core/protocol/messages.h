// What coordinator and worker say to each other, as plain values.  core/net/convert.h puts them on
// the wire; the simulated network of the tests carries them as they are.
//
//   worker                          coordinator
//     Hello ------------------------>   (registers; after a reconnect names the running attempt)
//     <------------------- Welcome      (lease, heartbeat interval)
//     <-------------- StartAttempt      (its rank, the plan, the spec, where to resume)
//     Meet{key} -------------------->   (rendezvous: everybody's bytes to everybody)
//     <---------------- MeetResult
//     RankReady -------------------->
//     StepDone, ShardDurable ------->
//     <---------- CommitCheckpoint      (to rank 0, once all shards are durable)
//     CheckpointCommitted ---------->   (or CheckpointFailed, from any rank)
//     <---------------- StopAttempt     (commit a checkpoint, then leave)
//     <--------------- AbortAttempt     (leave at once)
//     Noticed ---------------------->   (something that people must know)
//     RankExited ------------------->
//     <------------------- JobEnded     (the job is over: nothing more to do or to repeat)
//     Heartbeat -------------------->   (at every interval: what its rank is at)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/exit_code.h"
#include "core/plan/plan.h"
#include "core/protocol/step_report.h"
#include "core/spec/cluster.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Everything that one rank process needs for one attempt.
struct Assignment {
  std::string job;  // "jobs/tiny"
  int attempt = 0;  // fencing epoch, 1-based
  int rank = 0;     // global: replica * num_ranks + pipeline rank
  int world_size = 1;
  JobSpec spec;  // resolved
  Plan plan;
  std::string plan_hash;
  std::string output_directory;      // metrics.jsonl and checkpoints/ live here
  bool fresh = false;                // forget checkpoints found there
  std::vector<std::string> changes;  // fields that may differ from those' spec (spec_change.h)
  std::string init_from;     // where the weights of a new run come from; empty: from training.seed
  std::string peer_address;  // address of this worker that peers can reach
};

// worker -> coordinator
struct Hello {
  WorkerResources resources;
  std::string address;  // that peers can reach, without a port
  std::string job;      // of the rank still running, empty if none
  int attempt = 0;
};
// What a rank is at.  News of the moment: neither stored nor repeated.
struct RankActivity {
  std::string job;
  int attempt = 0;
  int rank = 0;
  int64_t marks = 0;       // another number after each move; the same while the rank waits or hangs
  std::string what;        // "step 12 train: instruction 17 (receive-activation) from rank 0"
  std::vector<int> peers;  // global ranks that it waits for
  std::string process;     // "stopped" where the system does not let it run; else empty
};
// Also from a rank to its supervisor.
struct Heartbeat {
  std::optional<RankActivity> activity;  // none: there is no rank
};
struct Meet {  // contributes `bytes` under `key`; answered when all ranks of the attempt have met
  std::string job;
  int attempt = 0;
  int rank = 0;
  std::string key;
  std::string bytes;
};
struct RankReady {
  std::string job;
  int attempt = 0;
  int rank = 0;
  int64_t resumed_step = 0;  // 0: from the beginning
  std::string note;          // damaged checkpoints that were passed over; empty: none
  std::string notice = "";   // what is another than in the run that it goes on with; empty: nothing
};
struct StepDone {
  std::string job;
  int attempt = 0;
  int rank = 0;
  StepReport report;
};
struct ShardDurable {  // this rank's shard of the checkpoint of `step` is on disk
  std::string job;
  int attempt = 0;
  int rank = 0;
  int64_t step = 0;
  std::string file;      // name inside the checkpoint's directory
  std::string checksum;  // of the file's bytes
  int64_t bytes = 0;
};
struct CheckpointCommitted {
  std::string job;
  int attempt = 0;
  int64_t step = 0;
  std::string path;
  std::string checksum;  // of manifest.json
};
struct CheckpointFailed {  // this rank's part of it could not be written; training goes on
  std::string job;
  int attempt = 0;
  int rank = 0;
  int64_t step = 0;
  std::string reason;  // one sentence: file, what the disk says
};
struct Noticed {  // something that people must know; the coordinator's own words too
  std::string job;
  int attempt = 0;
  int rank = 0;          // who says it; 0: or the coordinator
  std::string code;      // one of those below
  int64_t step = 0;      // in which it was seen
  std::string sentence;  // with all numbers
};
// Watchers lack the steps before Noticed::step, from the one after the last that they have heard.
inline constexpr char kStepsMissing[] = "STEPS_MISSING";
// The composite gain went above stability.max_gain, and came well below it again.
inline constexpr char kGainAboveBound[] = "GAIN_ABOVE_BOUND";
inline constexpr char kGainBack[] = "GAIN_BACK";
// The streams became so similar that they are one, and differed again.
inline constexpr char kStreamsCollapsed[] = "STREAMS_COLLAPSED";
inline constexpr char kStreamsApart[] = "STREAMS_APART";
// The output directory, or a part of it, was removed while the job ran.
inline constexpr char kOutputRemoved[] = "OUTPUT_REMOVED";
struct RankExited {
  std::string job;
  int attempt = 0;
  int rank = 0;
  ExitCode code = ExitCode::kInternal;
  std::string reason;  // one sentence: instruction, peer, signal
  bool disk = false;   // a disk that is full, read-only or broken was the reason
};
using WorkerPayload = std::variant<Hello, Heartbeat, Meet, RankReady, StepDone, ShardDurable,
                                   CheckpointCommitted, CheckpointFailed, RankExited, Noticed>;
struct WorkerMessage {
  std::string worker;        // "workers/host-0"
  uint64_t incarnation = 0;  // which life of the worker process speaks; larger is newer
  WorkerPayload payload;
};

// coordinator -> worker
struct Welcome {
  double heartbeat_seconds = 1.0;
  double lease_seconds = 5.0;
};
struct StartAttempt {
  Assignment assignment;
};
struct MeetResult {
  std::string job;
  int attempt = 0;
  std::string key;
  std::vector<std::string> bytes;  // by rank
};
struct Shard {
  int rank = 0;
  std::string file;
  std::string checksum;
  int64_t bytes = 0;
};
struct CommitCheckpoint {
  std::string job;
  int attempt = 0;
  int64_t step = 0;
  std::vector<Shard> shards;  // by rank
};
struct StopAttempt {  // finish the running step, commit a checkpoint, exit with kStopped
  std::string job;
  int attempt = 0;
};
struct AbortAttempt {  // kill the rank process
  std::string job;
  int attempt = 0;
  std::string reason;
};
struct Refused {  // a stale incarnation or attempt spoke: leave with kFenced
  std::string reason;
};
struct JobEnded {  // to every worker of the last attempt; with --once it leaves with `code`
  std::string job;
  int attempt = 0;
  ExitCode code = ExitCode::kDone;
  std::string reason;
};
using CoordinatorMessage = std::variant<Welcome, StartAttempt, MeetResult, CommitCheckpoint,
                                        StopAttempt, AbortAttempt, Refused, JobEnded>;

}  // namespace birkhoff
