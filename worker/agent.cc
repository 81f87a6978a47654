// One On per event, one Hear per message of the coordinator.  All that the rank says goes through
// Say: shortened, into the journal, and out where there is a connection.
#include "worker/agent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/printable.h"

namespace birkhoff {

void Journal::Add(const WorkerPayload& payload) {
  if (const auto* committed = std::get_if<CheckpointCommitted>(&payload)) DropBefore(*committed);
  if (std::holds_alternative<StepDone>(payload) && ++num_steps_ > kMaxSteps) {
    const auto oldest = std::find_if(entries_.begin(), entries_.end(), [](const auto& entry) {
      return std::holds_alternative<StepDone>(entry);
    });
    entries_.erase(oldest);
    --num_steps_;
  }
  entries_.push_back(payload);
}

void Journal::DropBefore(const CheckpointCommitted& committed) {
  std::erase_if(entries_, [&](const WorkerPayload& entry) {
    if (const auto* shard = std::get_if<ShardDurable>(&entry)) return shard->step <= committed.step;
    return std::holds_alternative<CheckpointCommitted>(entry);
  });
}

std::vector<AgentEffect> Agent::Step(Instant now, const AgentEvent& event) {
  now_ = now;
  if (!alone_since_.has_value() || connected_ || rank_alive_) alone_since_ = now_;
  Effects effects;
  std::visit([&](const auto& e) { On(e, effects); }, event);
  return effects;
}

bool Agent::IsMine(const std::string& job, int attempt) const {
  return job == job_ && attempt == attempt_;
}

// The bounds of core/net/bounds.h, from far below: what is longer would be refused again and again.
void Shorten(std::string& text) {
  constexpr size_t kLongest = 16384;
  text = Shortened(text, kLongest);
}

void Agent::Say(const WorkerPayload& said, Effects& effects) {
  WorkerPayload payload = said;
  if (auto* ready = std::get_if<RankReady>(&payload)) {
    Shorten(ready->note);
    Shorten(ready->notice);
  }
  if (auto* failed = std::get_if<CheckpointFailed>(&payload)) Shorten(failed->reason);
  if (auto* noticed = std::get_if<Noticed>(&payload)) Shorten(noticed->sentence);
  if (auto* exited = std::get_if<RankExited>(&payload)) Shorten(exited->reason);
  journal_.Add(payload);
  if (connected_) effects.push_back(AgentSend{payload});
}

void Agent::On(const AgentConnected&, Effects& effects) {
  Hello hello;
  hello.resources = options_.resources;
  hello.address = options_.address;
  if (rank_alive_) {
    hello.job = job_;
    hello.attempt = attempt_;
  }
  effects.push_back(AgentSend{hello});  // the journal follows the Welcome
}

void Agent::On(const AgentDisconnected&, Effects&) {
  connected_ = false;
  if (!away_since_.has_value()) away_since_ = now_;
}

void Agent::On(const AgentHeard& event, Effects& effects) {
  std::visit([&](const auto& message) { Hear(message, effects); }, event.message);
}

void Agent::On(const AgentRankSaid& event, Effects& effects) {
  const auto* heartbeat = std::get_if<Heartbeat>(&event.payload);
  if (heartbeat == nullptr) return Say(event.payload, effects);
  if (!heartbeat->activity.has_value()) return;
  activity_ = *heartbeat->activity;  // told with the next heartbeat of this agent
  Shorten(activity_.what);
}

namespace {

// Codes that only the rank itself ends with, never somebody who kills it.
bool IsOwnWord(ExitCode code) {
  return code == ExitCode::kDone || code == ExitCode::kStopped || code == ExitCode::kBadSpec ||
         code == ExitCode::kNumerics;
}

}  // namespace

void Agent::On(const AgentRankGone& event, Effects& effects) {
  rank_alive_ = false;
  RankExited exited{job_, attempt_, rank_, event.code, event.reason, event.disk};
  // One that has ended by itself keeps its code, whoever was about to kill it.
  const bool own = IsOwnWord(event.code) || event.disk;
  if (!kill_reason_.empty() && !own) {
    exited.code = ExitCode::kInfrastructure;
    exited.reason = absl::StrCat("killed: ", kill_reason_);
  }
  Say(exited, effects);
  if (leaving_.has_value()) {
    // 75 promises that nothing is lost.
    const bool kept = exited.code == ExitCode::kStopped || exited.code == ExitCode::kDone;
    if (asked_to_leave_ && !kept) {
      leaving_->code = own ? exited.code : ExitCode::kInfrastructure;
      leaving_->reason = absl::StrCat("without a new checkpoint: ", exited.reason);
    }
    return effects.push_back(*leaving_);
  }
  if (pending_.has_value()) Start(*std::exchange(pending_, std::nullopt), effects);
}

void Agent::On(const AgentShutdown&, Effects& effects) {
  if (!rank_alive_) {
    // To whoever waits for a job's end, 0 would mean that it is done.
    const ExitCode code = options_.once ? ExitCode::kStopped : ExitCode::kDone;
    return effects.push_back(AgentLeave{code, "asked to leave"});
  }
  if (leaving_.has_value()) {
    kill_reason_ = "asked to leave twice";
    return effects.push_back(AgentKillRank{kill_reason_});
  }
  leaving_ = AgentLeave{ExitCode::kStopped, "asked to leave"};
  leave_by_ = now_ + options_.stop_grace;
  asked_to_leave_ = true;
  effects.push_back(AgentTellRank{StopAttempt{job_, attempt_}});
}

void Agent::On(const AgentTick&, Effects& effects) {
  // A checkpoint is committed by the coordinator's word, and it may be away.
  if (leave_by_.has_value() && now_ >= *leave_by_ && rank_alive_) {
    leave_by_.reset();
    kill_reason_ = absl::StrCat("no clean stop within ", absl::FormatDuration(options_.stop_grace));
    effects.push_back(AgentKillRank{kill_reason_});
  }
  if (options_.once && now_ - *alone_since_ >= options_.give_up) {
    return effects.push_back(
        AgentLeave{ExitCode::kInfrastructure,
                   absl::StrCat("no coordinator has answered for ",
                                absl::FormatDuration(options_.give_up), " (--give-up-seconds)")});
  }
  EndOrphan(effects);
  if (!connected_ || now_ - last_heartbeat_ < heartbeat_) return;
  last_heartbeat_ = now_;
  Heartbeat heartbeat;
  if (rank_alive_) heartbeat.activity = activity_;
  effects.push_back(AgentSend{heartbeat});
}

// What it has committed stays; the coordinator hears of its end when it is back.
void Agent::EndOrphan(Effects& effects) {
  if (!away_since_.has_value() || now_ - *away_since_ < options_.orphan_limit) return;
  if (!rank_alive_ || !kill_reason_.empty()) return;
  kill_reason_ = absl::StrCat("the coordinator was away for ",
                              absl::FormatDuration(options_.orphan_limit), " (--orphan-limit)");
  effects.push_back(AgentKillRank{kill_reason_});
}

void Agent::Hear(const Welcome& message, Effects& effects) {
  connected_ = true;
  away_since_.reset();
  heartbeat_ = absl::Seconds(message.heartbeat_seconds);
  last_heartbeat_ = now_;
  for (const WorkerPayload& entry : journal_.entries()) effects.push_back(AgentSend{entry});
}

void Agent::Hear(const StartAttempt& message, Effects& effects) {
  const Assignment& assignment = message.assignment;
  // The coordinator repeats itself after a reconnect.  An attempt that has ended here is not begun
  // again: the journal tells how it ended.
  if (IsMine(assignment.job, assignment.attempt)) return;
  if (assignment.job == job_ && assignment.attempt < attempt_) return;
  if (leaving_.has_value()) return;
  if (!rank_alive_) return Start(assignment, effects);
  if (pending_.has_value() && pending_->job == assignment.job &&
      pending_->attempt >= assignment.attempt) {
    return;
  }
  pending_ = assignment;
  kill_reason_ = absl::StrCat("attempt ", assignment.attempt, " of ", assignment.job, " begins");
  effects.push_back(AgentKillRank{kill_reason_});
}

void Agent::Start(const Assignment& assignment, Effects& effects) {
  job_ = assignment.job;
  attempt_ = assignment.attempt;
  rank_ = assignment.rank;
  rank_alive_ = true;
  activity_ = {job_, attempt_, rank_, 0, "has not said anything yet", {}, ""};
  kill_reason_.clear();
  journal_ = Journal();
  effects.push_back(AgentStartRank{assignment});
}

void Agent::Hear(const MeetResult& message, Effects& effects) {
  if (!IsMine(message.job, message.attempt)) return;
  if (rank_alive_) effects.push_back(AgentTellRank{message});
}

void Agent::Hear(const CommitCheckpoint& message, Effects& effects) {
  if (rank_alive_ && IsMine(message.job, message.attempt)) {
    effects.push_back(AgentTellRank{message});
  }
}

void Agent::Hear(const StopAttempt& message, Effects& effects) {
  if (rank_alive_ && IsMine(message.job, message.attempt)) {
    effects.push_back(AgentTellRank{message});
  }
}

void Agent::Hear(const AbortAttempt& message, Effects& effects) {
  if (pending_.has_value() && pending_->job == message.job &&
      pending_->attempt == message.attempt) {
    const int rank = std::exchange(pending_, std::nullopt)->rank;
    return Say(RankExited{message.job, message.attempt, rank, ExitCode::kInfrastructure,
                          "aborted before it started"},
               effects);
  }
  if (!IsMine(message.job, message.attempt)) return;
  if (!rank_alive_) return journal_.Clear();  // it has been told, or does not want to know
  kill_reason_ = message.reason;
  effects.push_back(AgentKillRank{message.reason});
}

void Agent::Hear(const Refused& message, Effects& effects) {
  Leave(ExitCode::kFenced, message.reason, effects);
}

void Agent::Hear(const JobEnded& message, Effects& effects) {
  if (!IsMine(message.job, message.attempt)) return;
  journal_.Clear();
  if (options_.once) return Leave(message.code, message.reason, effects);
  if (!rank_alive_) return;
  kill_reason_ = message.reason;
  effects.push_back(AgentKillRank{message.reason});
}

void Agent::Leave(ExitCode code, std::string reason, Effects& effects) {
  const AgentLeave leave{code, std::move(reason)};
  if (!rank_alive_) return effects.push_back(leave);
  leaving_ = leave;
  kill_reason_ = leave.reason;
  effects.push_back(AgentKillRank{leave.reason});
}

}  // namespace birkhoff
