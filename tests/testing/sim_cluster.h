// The whole system in one process, on a simulated clock and network: the real coordinator
// over a real store, real agents, real ranks; no gRPC, socket or process.
//
//   coordinator <--messages, delayed, held, cut--> agents <--pipes--> ranks (sim_ranks.h)
//        |                                                               |
//   store, perhaps slow                                   files, perhaps durable late
//
// Everybody has a wall clock of his own, which may be set; steady clocks run alike.  A life of a
// worker is named by its wall clock, as in the supervisor.
//
// Not simulated: the encoding of messages (core/net/convert), gRPC's flow control and deadlines,
// real processes and signals, the inside of a step (ranks die between steps), steady clocks that
// run apart, messages between ranks that are lost, a full or damaged disk, several jobs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/coordinator.h"
#include "core/base/rng.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/sim_loop.h"
#include "tests/testing/sim_ranks.h"
#include "worker/agent.h"

namespace birkhoff::testing {

inline constexpr int kEveryWorker = -1;

// Something bad that happens soon after some rank has first told of the step; step 0: once a rank
// waits for the others, before training.
struct Disturbance {
  enum class Kind {
    kKillWorker,          // agent and rank vanish, a new life comes later
    kStopWorker,          // as if by SIGTERM; a new life comes later
    kCutConnection,       // messages on the way may be lost; the worker comes back
    kRestartCoordinator,  // destroyed, and created from its store later
    kStallCoordinator,    // stopped: what is said to it waits; it looks at leases first, or later
    kStallWorker,         // its agent is stopped, its rank trains on
    kStopRank,            // SIGSTOP of a rank process for good: its supervisor lives on
    // For `amount` nothing arrives between the coordinator and the worker; it is sent again by
    // those below and arrives afterwards, unless both ends have given the connection up by then.
    kCutNetwork,
    kCutToCoordinator,  // the same one way: the worker hears, and is not heard
    kCutToWorker,       // it is heard, and does not hear
    kCutRanks,          // ranks of all attempts wait for each other
    kSlowStore,         // for half a minute each append takes up to `amount`, and holds all else up
    kSlowFiles,         // for half a minute the worker's files take up to `amount` to be durable
    kStepWorkerClock,   // its wall clock is set ahead by `amount`, or back
    kStepCoordinatorClock,
    kNumKinds,  // not a kind
  };
  Kind kind = Kind::kCutConnection;
  int64_t after_step = 0;
  int worker = 0;  // where the kind needs one; kEveryWorker: all of them
  absl::Duration amount = absl::Seconds(20);
};

struct SimOptions {
  JobSpec spec;
  std::string store = ":memory:";  // a path, where the coordinator is restarted
  uint64_t seed = 1;               // of all delays
  std::vector<Disturbance> disturbances;
  int spare_workers = 0;  // beside those that the job needs, which are workers 0, 1, ...
  absl::Duration slowest_step = absl::Milliseconds(400);
};

struct SimResult {
  JobView job;
  std::map<int64_t, double> losses;    // of the job's history, by step
  std::string tensors;                 // of the last checkpoint, by checksum
  std::vector<int64_t> metrics_steps;  // rows of metrics.jsonl
  int64_t steps_unwatched = 0;         // taken while there was no coordinator
  int64_t resumed_step = 0;            // of the latest attempt
  absl::Duration ended_after;          // since the job was submitted; simulated time
  int num_connections = 0;             // opened
  int num_leaves = 0;                  // workers that left by their own decision
  int num_busy_at_end = 0;             // agents with a living rank when all is over
  std::string trace;                   // everything said, in order, with its time
};

// Submits the job and runs until it is over and the workers have been told.
class SimCluster {
 public:
  explicit SimCluster(const SimOptions& options);
  ~SimCluster();
  SimResult Run();

 private:
  class Connection;
  class OwnClock;
  class SlowStore;
  struct Worker;
  enum class Ending {
    kCut,      // both ends live on, and notice in their own time
    kVanish,   // the agent is gone
    kGoodbye,  // the agent leaves; what it has said arrives
  };

  // The coordinator and its connections.
  void OpenCoordinator();
  void RestartCoordinator();
  void TickCoordinator();
  void Connect(int number);
  void Cut(const std::shared_ptr<Connection>& connection, Ending ending);
  void ToCoordinator(const std::shared_ptr<Connection>& connection, WorkerPayload payload);
  void Read(const std::shared_ptr<Connection>& connection, const WorkerPayload& payload);
  void ToAgent(const std::shared_ptr<Connection>& connection, CoordinatorMessage message);
  // At `when`, or once the network lets it pass, in order.
  void Arrive(int number, bool to_coordinator, Instant when, SimLoop::Action action);
  void CutNetwork(int number, bool to_coordinator, bool to_agent, absl::Duration lasts);
  // The wall clock of the coordinator or a worker: simulated time, and how far it was set.
  absl::Time WallOf(absl::Duration set_by) const;

  // Workers and their rank processes.
  void StartWorker(int number);
  void KillWorker(int number);
  void TickAgent(int number, uint64_t life);
  void Step(int number, const AgentEvent& event);
  void Do(int number, const AgentSend& effect);
  void Do(int number, const AgentStartRank& effect);
  void Do(int number, const AgentTellRank& effect);
  void Do(int number, const AgentKillRank& effect);
  void Do(int number, const AgentLeave& effect);
  void KillRank(int number);
  // Once its agent is not stopped any more, in order.
  void StepWhenAwake(int number, AgentEvent event);
  // Runs `action` unless this life of the worker has ended by then.
  void AfterInLife(int number, absl::Duration delay, SimLoop::Action action);

  void MoveGang(int attempt);
  void Deliver(int number);  // what the rank of the worker has said
  void StopRank(int number);
  void Disturb(int64_t step);
  void Happen(const Disturbance& disturbance);
  void HappenTo(int number, const Disturbance& disturbance);
  void CollectHistory(SimResult* result);

  absl::Duration Draw(absl::Duration least, absl::Duration most);
  void Trace(const std::string& line);

  const SimOptions options_;
  SimLoop loop_;
  Rng rng_;
  FaultDisk disk_;
  std::unique_ptr<OwnClock> clock_;  // the coordinator's
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<Coordinator> coordinator_;  // null while it is away
  SimGate awake_{loop_};                      // shut while it is stopped, or waits for its disk
  Instant store_slow_until_;
  absl::Duration slowest_append_;
  absl::Duration clock_set_by_;  // the coordinator's wall clock
  Instant ranks_cut_until_;
  Instant quiet_from_;                                    // no fault lasts longer
  int epoch_ = 0;                                         // which life of the coordinator
  std::vector<std::shared_ptr<Connection>> connections_;  // all that ever were
  std::vector<std::unique_ptr<Worker>> workers_;
  std::map<int, std::unique_ptr<SimGang>> gangs_;  // by attempt
  std::vector<Disturbance> waiting_;
  std::string job_;
  bool over_ = false;
  SimResult result_;
};

SimResult RunCluster(const SimOptions& options);

}  // namespace birkhoff::testing
