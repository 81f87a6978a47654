#include "worker/supervisor.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/exit_status.h"
#include "core/base/printable.h"
#include "core/base/rng.h"
#include "worker/rank_child.h"
#include "worker/supervisor_stream.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(100);
constexpr absl::Duration kLargestBackoff = absl::Seconds(2);

// What coordinators and ranks say is part of it.
void Log(const std::string& line) { std::fprintf(stderr, "%s\n", Printable(line).c_str()); }

// Events from any thread, in order of arrival.
class Inbox {
 public:
  void Push(AgentEvent event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }
  // Empty after `timeout`.
  std::optional<AgentEvent> Pop(absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto filled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !events_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&filled), timeout)) return std::nullopt;
    AgentEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  absl::Mutex mutex_;
  std::deque<AgentEvent> events_ ABSL_GUARDED_BY(mutex_);
};

// Turns SIGTERM, SIGINT and SIGHUP into events.  Lives in the process's main thread, which blocks
// both before any other thread exists, so that all inherit the mask.
class SignalListener {
 public:
  explicit SignalListener(Inbox& inbox) {
    sigemptyset(&set_);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set_, signal);
    struct sigaction hangup = {};  // under nohup it stays ignored
    const bool ignored = sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&set_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    thread_ = std::thread([this, &inbox] {
      int signal = 0;
      while (sigwait(&set_, &signal) == 0 && signal != SIGUSR1) inbox.Push(AgentShutdown{});
    });
  }
  ~SignalListener() {
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }

 private:
  sigset_t set_;
  std::thread thread_;
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
    const SignalListener signals(inbox_);
    const auto endpoint = HealthEndpoint::Start(options_.health, health_);
    if (!endpoint.ok()) {
      Log(std::string(endpoint.status().message()));
      return ExitCodeOf(endpoint.status());
    }
    if (const std::string http = (*endpoint)->http_address(); !http.empty()) {
      Log(absl::StrCat("health on http://", http, "/readyz"));
    }
    health_.SetReady(absl::UnavailableError("not registered with the coordinator"));
    while (!left_.has_value()) {
      health_.Beat();
      if (stream_ == nullptr && clock_.Now() >= reconnect_at_) Connect();
      const std::optional<AgentEvent> event = inbox_.Pop(PollInterval());
      if (event.has_value()) {
        Take(*event);
      }
      Act(agent_.Step(clock_.Now(), AgentTick{}));
    }
    Log(absl::StrCat("leaving: ", left_->reason));
    child_.reset();
    stream_.reset();
    return left_->code;
  }

 private:
  absl::Duration PollInterval() const {
    absl::Duration interval = agent_.heartbeat() / 4;
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

  void Connect() {
    stream_ = CoordinatorStream::Open(
        options_.coordinator,
        {.on_message = [this](CoordinatorMessage m) { inbox_.Push(AgentHeard{std::move(m)}); },
         .on_end =
             [this](const std::string& why) {
               LogEnd(why);
               inbox_.Push(AgentDisconnected{});
             }});
    Act(agent_.Step(clock_.Now(), AgentConnected{}));
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
    stream_->Write({options_.agent.resources.name, incarnation_, send.payload});
  }
  void Do(const AgentStartRank& start) {
    const Assignment& assignment = start.assignment;
    Log(absl::StrCat(assignment.job, " attempt ", assignment.attempt, ": rank ", assignment.rank,
                     " of ", assignment.world_size, " starts"));
    auto child = RankChild::Start(
        options_.program, options_.device, assignment,
        {.on_payload = [this](WorkerPayload p) { inbox_.Push(AgentRankSaid{std::move(p)}); },
         .on_end =
             [this](RankEnd end) {
               inbox_.Push(AgentRankGone{end.code, std::move(end.reason)});
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
