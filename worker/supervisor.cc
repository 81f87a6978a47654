// One loop on the main thread: take an event from the inbox, which other threads only fill, step
// the agent, do what it says.
#include "worker/supervisor.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/exit_status.h"
#include "core/base/guarded.h"
#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/base/rng.h"
#include "core/base/shutdown_signals.h"
#include "core/base/steady_wait.h"
#include "worker/allowed_paths.h"
#include "worker/rank_child.h"
#include "worker/supervisor_stream.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kLargestBackoff = absl::Seconds(2);
constexpr absl::Duration kLongestPoll = absl::Milliseconds(250);  // a signal waits no longer

// Events from any thread, in order of arrival.
class Inbox {
 public:
  void Push(AgentEvent event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
    pushed_.Notify();
  }
  // Empty after `timeout`.
  std::optional<AgentEvent> Pop(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto filled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !events_.empty(); };
    if (!pushed_.For(mutex_, timeout, filled)) return std::nullopt;
    AgentEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  absl::Mutex mutex_;
  SteadyWait pushed_;
  std::deque<AgentEvent> events_ ABSL_GUARDED_BY(mutex_);
};

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, const Clock& clock)
      : options_(options),
        clock_(clock),
        agent_(options.agent),
        incarnation_(static_cast<uint64_t>(absl::ToUnixNanos(clock.WallTime()))),
        jitter_(incarnation_, options.agent.resources.name),
        reconnect_at_(clock.Now()),
        health_(clock) {}

  ExitCode Run() {
    const ShutdownSignals signals;
    int seen = 0;
    const auto endpoint = HealthEndpoint::Start(options_.health, health_);
    if (!endpoint.ok()) {
      Log(std::string(endpoint.status().message()));
      return ExitCodeOf(endpoint.status());
    }
    if (const std::string http = (*endpoint)->http_address(); !http.empty()) {
      Log(absl::StrCat("health on http://", http, "/readyz"));
    }
    Log(absl::StrCat("device ", options_.rank.device, ", ", options_.rank.threads,
                     options_.rank.threads == 1 ? " thread: " : " threads: ",
                     options_.agent.resources.description));
    health_.SetReady(absl::UnavailableError("not registered with the coordinator"));
    while (!left_.has_value()) {
      health_.Beat();
      if (stream_ == nullptr && clock_.Now() >= reconnect_at_) Connect();
      const std::optional<AgentEvent> event = inbox_.Pop(PollInterval());
      if (event.has_value()) {
        Take(*event);
      }
      for (; seen < signals.Count(); ++seen) Take(AgentShutdown{});
      Act(agent_.Step(clock_.Now(), AgentTick{}));
    }
    Log(absl::StrCat("leaving: ", left_->reason));
    child_.reset();
    stream_.reset();
    return left_->code;
  }

 private:
  // What coordinators and ranks say is part of it.
  void Log(const std::string& line) const {
    std::fprintf(stderr, "%s\n", LogLine(clock_.WallTime(), line).c_str());
  }

  absl::Duration PollInterval() const {
    absl::Duration interval = std::min(agent_.heartbeat() / 4, kLongestPoll);
    if (stream_ == nullptr) interval = std::min(interval, reconnect_at_ - clock_.Now());
    return std::max(interval, absl::ZeroDuration());
  }

  void Take(const AgentEvent& event) {
    if (const auto* heard = std::get_if<AgentHeard>(&event)) {
      if (std::holds_alternative<Welcome>(heard->message)) {
        backoff_ = kFirstBackoff;
        health_.SetReady(absl::OkStatus());
      }
    } else if (std::holds_alternative<AgentDisconnected>(event)) {
      health_.SetReady(absl::UnavailableError("the coordinator is away"));
      Disconnect();
    } else if (std::holds_alternative<AgentShutdown>(event)) {
      health_.SetStopping();
    } else if (std::holds_alternative<AgentRankGone>(event)) {
      child_.reset();
    }
    Act(agent_.Step(clock_.Now(), event));
  }

  // Where memory or threads are short, it tries again as if nobody had answered.
  void Connect() {
    CoordinatorStream::Callbacks callbacks = {
        .on_message = [this](CoordinatorMessage m) { inbox_.Push(AgentHeard{std::move(m)}); },
        .on_end =
            [this](const std::string& why) {
              LogEnd(why);
              inbox_.Push(AgentDisconnected{});
            }};
    const absl::Status opened = Guarded("opening a stream", [&] {
      stream_ = CoordinatorStream::Open(options_.coordinator, std::move(callbacks));
      return absl::OkStatus();
    });
    if (opened.ok()) return Act(agent_.Step(clock_.Now(), AgentConnected{}));
    LogEnd(std::string(opened.message()));
    Disconnect();
  }

  // Each time the reason changes.  On the stream's thread: there is one stream at a time.
  void LogEnd(const std::string& why) {
    if (why == last_end_) return;
    last_end_ = why;
    Log(absl::StrCat("coordinator ", options_.coordinator, ": ",
                     why.empty() ? "it has ended the connection" : why, "; trying again"));
  }

  // Jitter keeps a fleet from coming back in step.
  void Disconnect() {
    stream_.reset();
    reconnect_at_ = clock_.Now() + backoff_ * (0.5 + jitter_.Uniform());
    backoff_ = std::min(2.0 * backoff_, kLargestBackoff);
  }

  void Act(const std::vector<AgentEffect>& effects) {
    for (const AgentEffect& effect : effects) {
      std::visit([this](const auto& e) { Do(e); }, effect);
    }
  }

  void Do(const AgentSend& send) {
    if (stream_ == nullptr) return;  // the journal has what matters
    WorkerMessage message{options_.agent.resources.name, incarnation_, send.payload};
    auto* heartbeat = std::get_if<Heartbeat>(&message.payload);
    if (heartbeat != nullptr && heartbeat->activity.has_value() && child_ != nullptr) {
      heartbeat->activity->process = child_->Trouble();
    }
    stream_->Write(message);
  }
  void Do(const AgentStartRank& start) {
    const Assignment& assignment = start.assignment;
    Log(absl::StrCat(assignment.job, " attempt ", assignment.attempt, ": rank ", assignment.rank,
                     " of ", assignment.world_size, " starts"));
    if (const absl::Status allowed = CheckAllowedPaths(options_.allowed_paths, assignment);
        !allowed.ok()) {
      inbox_.Push(AgentRankGone{ExitCodeOf(allowed), std::string(allowed.message())});
      return;
    }
    auto child = RankChild::Start(
        options_.program, options_.rank, assignment,
        {.on_payload = [this](WorkerPayload p) { inbox_.Push(AgentRankSaid{std::move(p)}); },
         .on_end =
             [this](RankEnd end) {
               inbox_.Push(AgentRankGone{end.code, std::move(end.reason), end.disk});
             }});
    if (child.ok()) {
      child_ = *std::move(child);
    } else {
      inbox_.Push(AgentRankGone{ExitCode::kInfrastructure, std::string(child.status().message())});
    }
  }
  void Do(const AgentTellRank& tell) {
    if (child_ != nullptr) child_->Tell(tell.message);
  }
  void Do(const AgentKillRank& kill) {
    Log(absl::StrCat("killing the rank: ", kill.reason));
    if (child_ != nullptr) child_->Kill();
  }
  void Do(const AgentLeave& leave) { left_ = leave; }

  const SupervisorOptions& options_;
  const Clock& clock_;
  Agent agent_;
  const uint64_t incarnation_;
  Rng jitter_;
  Instant reconnect_at_;
  absl::Duration backoff_ = kFirstBackoff;
  Health health_;
  Inbox inbox_;
  std::unique_ptr<CoordinatorStream> stream_;  // null: not connected
  std::unique_ptr<RankChild> child_;           // null: no rank
  std::string last_end_;                       // why the stream before ended
  std::optional<AgentLeave> left_;
};

}  // namespace

ExitCode RunSupervisor(const SupervisorOptions& options, const Clock& clock) {
  return Supervisor(options, clock).Run();
}

}  // namespace birkhoff
