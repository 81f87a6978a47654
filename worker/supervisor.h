// Drives an Agent: one stream to the coordinator, one rank process at a time, signals, heartbeats.
// A small process without a device context that stays when ranks come and go.
#pragma once

#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/exit_code.h"
#include "core/net/health_endpoint.h"
#include "worker/agent.h"
#include "worker/rank_process.h"

namespace birkhoff {

struct SupervisorOptions {
  std::string coordinator;                 // "127.0.0.1:7443"
  std::string program;                     // path of birkhoff-worker, for the rank process
  RankOptions rank;                        // its device is this worker's
  std::vector<std::string> allowed_paths;  // directories that jobs may touch; none: all
  AgentOptions agent;                      // resources.name is "workers/NAME"
  HealthListen health;                     // ready: registered, and not asked to leave
};

// Runs until the agent leaves.  SIGTERM, SIGINT and SIGHUP are taken over (ShutdownSignals): the
// first commits a checkpoint and leaves, the second kills the rank.  Must be called from the main
// thread: rank processes die with the thread that starts them.
ExitCode RunSupervisor(const SupervisorOptions& options, const Clock& clock);

}  // namespace birkhoff
