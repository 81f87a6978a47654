// The supervisor's decisions as a pure state machine: what it hears from the coordinator, from its
// rank process and from the operating system, and what must be done about it.  No clock, process,
// socket or lock in here; supervisor.h drives it, tests and the simulated cluster step it by hand.
//
//   IDLE --StartAttempt--> RUNNING --rank gone--> EXITED --StartAttempt of another--> RUNNING
//                                                   |-----JobEnded, AbortAttempt----> IDLE
//
// What the rank has said is kept in a journal and said again after every reconnect, because nobody
// acknowledges it: the coordinator ignores what it has heard before.  Meets stay in it although
// they are answered: a coordinator that died after it had answered this rank but not yet another
// needs to hear all of them again.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/protocol/messages.h"

namespace birkhoff {

// The payloads of one attempt that a reconnected coordinator may not have heard.
class Journal {
 public:
  void Add(const WorkerPayload& payload);
  void Clear() {
    entries_.clear();
    num_steps_ = 0;
  }
  const std::deque<WorkerPayload>& entries() const { return entries_; }

 private:
  void DropBefore(const CheckpointCommitted& committed);

  // Step reports beyond this are the oldest and go first, and the coordinator tells watchers which
  // they lack (Noticed, kStepsMissing); nothing else is ever dropped unheard.
  static constexpr int kMaxSteps = 4096;
  std::deque<WorkerPayload> entries_;
  int num_steps_ = 0;
};

// What an agent hears.
struct AgentConnected {};     // a new stream to the coordinator is open
struct AgentDisconnected {};  // it is gone
struct AgentHeard {           // the coordinator speaks
  CoordinatorMessage message;
};
struct AgentRankSaid {  // the rank process speaks
  WorkerPayload payload;
};
struct AgentRankGone {  // the rank process has ended
  ExitCode code = ExitCode::kInternal;
  std::string reason;
  bool disk = false;  // RankExited::disk
};
struct AgentShutdown {};  // leave after a clean stop; a second one kills
struct AgentTick {};      // time passed
using AgentEvent = std::variant<AgentConnected, AgentDisconnected, AgentHeard, AgentRankSaid,
                                AgentRankGone, AgentShutdown, AgentTick>;

// What must be done, in order.
struct AgentSend {  // to the coordinator
  WorkerPayload payload;
};
struct AgentStartRank {
  Assignment assignment;
};
struct AgentTellRank {
  CoordinatorMessage message;
};
struct AgentKillRank {
  std::string reason;
};
struct AgentLeave {  // end the worker with this code
  ExitCode code = ExitCode::kDone;
  std::string reason;
};
using AgentEffect =
    std::variant<AgentSend, AgentStartRank, AgentTellRank, AgentKillRank, AgentLeave>;

struct AgentOptions {
  WorkerResources resources;
  std::string address;  // that peers can reach
  bool once = false;    // leave with the first job's exit code
  // With `once`: leave with kInfrastructure when no coordinator has been heard and no rank has run
  // for so long.
  absl::Duration give_up = absl::Minutes(5);
  absl::Duration stop_grace = absl::Seconds(60);  // from the first shutdown to killing the rank
  // A rank goes on while the coordinator is away, but not for longer than this.
  absl::Duration orphan_limit = absl::Hours(1);
};

class Agent {
 public:
  explicit Agent(AgentOptions options) : options_(std::move(options)) {}

  // Applies one event seen at `now`, which must not go backwards.
  std::vector<AgentEffect> Step(Instant now, const AgentEvent& event);

  bool rank_alive() const { return rank_alive_; }
  absl::Duration heartbeat() const { return heartbeat_; }

 private:
  using Effects = std::vector<AgentEffect>;
  void On(const AgentConnected& event, Effects& effects);
  void On(const AgentDisconnected& event, Effects& effects);
  void On(const AgentHeard& event, Effects& effects);
  void On(const AgentRankSaid& event, Effects& effects);
  void On(const AgentRankGone& event, Effects& effects);
  void On(const AgentShutdown& event, Effects& effects);
  void On(const AgentTick& event, Effects& effects);
  void EndOrphan(Effects& effects);

  void Hear(const Welcome& message, Effects& effects);
  void Hear(const StartAttempt& message, Effects& effects);
  void Hear(const MeetResult& message, Effects& effects);
  void Hear(const CommitCheckpoint& message, Effects& effects);
  void Hear(const StopAttempt& message, Effects& effects);
  void Hear(const AbortAttempt& message, Effects& effects);
  void Hear(const Refused& message, Effects& effects);
  void Hear(const JobEnded& message, Effects& effects);

  bool IsMine(const std::string& job, int attempt) const;
  void Say(const WorkerPayload& said, Effects& effects);
  void Start(const Assignment& assignment, Effects& effects);
  void Leave(ExitCode code, std::string reason, Effects& effects);

  const AgentOptions options_;
  Instant now_;
  bool connected_ = false;
  absl::Duration heartbeat_ = absl::Seconds(1);
  Instant last_heartbeat_;
  std::optional<Instant> away_since_;  // the coordinator, after there was one
  // The attempt that runs or has run last; its number is 0 before the first.
  std::string job_;
  int attempt_ = 0;
  int rank_ = 0;
  bool rank_alive_ = false;
  RankActivity activity_;               // of the living rank, as it has told last
  std::string kill_reason_;             // why this agent killed the rank; empty: it did not
  std::optional<Assignment> pending_;   // starts when the rank of an older attempt is gone
  std::optional<AgentLeave> leaving_;   // when the rank is gone
  bool asked_to_leave_ = false;         // by AgentShutdown, while a rank ran
  std::optional<Instant> leave_by_;     // then it is killed
  std::optional<Instant> alone_since_;  // neither a coordinator nor a rank; empty: not yet asked
  Journal journal_;
};

}  // namespace birkhoff
