// A reactor may be woken by the job, by the end of its own write and by the heart; its lock lets
// one of them write.  It goes in OnDone, after a running wake and the heart have let go of it.
#include "coordinator/watch_service.h"

#include <deque>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "coordinator/convert_view.h"
#include "core/base/guarded.h"
#include "core/base/status_macros.h"
#include "core/net/bounds.h"
#include "core/net/convert.h"
#include "core/net/status.h"

namespace birkhoff {

namespace {
constexpr absl::Duration kHeartbeat = absl::Seconds(5);
constexpr int kBatch = 64;  // events read at once; what one slow reader can hold
}  // namespace

// Writes one message at a time.  Whoever finds it idle (a wake, the end of a write, the heart) goes
// on writing; a reader that is slow just leaves its events in the store.
class WatchReactor final : public grpc::ServerWriteReactor<v1::WatchJobResponse> {
 public:
  WatchReactor(WatchHub& hub, const v1::WatchJobRequest& request)
      : hub_(hub),
        bounds_(CheckBounds(request)),
        name_(bounds_.ok() ? request.name() : std::string()),
        after_id_(request.after_event_id()) {}

  void Start() {
    const absl::Status status = Guarded("WatchJob", [this]() -> absl::Status {
      RETURN_IF_ERROR(bounds_);
      subscription_ = hub_.coordinator_.Subscribe(name_, [this] { Pump(/*beat=*/false); });
      return absl::OkStatus();
    });
    if (status.ok()) return Pump(/*beat=*/false);
    absl::MutexLock lock(&mutex_);
    End(status);
  }

  // Writes the next event if nothing is being written; a heartbeat if there is none and one is due.
  void Pump(bool beat) {
    absl::MutexLock lock(&mutex_);
    const absl::Status status = Guarded(
        "WatchJob", [this, beat]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return WriteNext(beat); });
    if (!status.ok()) End(status);
  }

  // Once what is being written is out.
  void Close() {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    if (!writing_) EndAtClose();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) return End(absl::CancelledError("the watcher has gone"));
    }
    Pump(/*beat=*/false);
  }
  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    if (!writing_) End(absl::CancelledError("the watcher has gone"));
  }
  void OnDone() override {
    subscription_.reset();  // waits for a wake that is running
    hub_.Remove(this);      // and for the heart
    delete this;
  }

 private:
  absl::Status WriteNext(bool beat) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return absl::OkStatus();
    if (closing_) {
      EndAtClose();
      return absl::OkStatus();
    }
    if (events_.empty()) RETURN_IF_ERROR(Refill());
    if (!events_.empty()) {
      WriteEvent();
    } else if (JobIsOver()) {
      End(absl::OkStatus());
    } else if (beat) {
      WriteHeartbeat();
    }
    return absl::OkStatus();
  }

  absl::Status Refill() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::StatusOr<std::vector<JobUpdate>> updates =
        hub_.coordinator_.ReadUpdates(name_, after_id_, kBatch);
    if (!updates.ok()) return updates.status();
    for (JobUpdate& update : *updates) events_.push_back(std::move(update));
    return absl::OkStatus();
  }

  bool JobIsOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const absl::StatusOr<JobView> job = hub_.coordinator_.GetJob(name_);
    return job.ok() && IsOver(job->state) && after_id_ >= job->last_event_id;
  }

  void WriteEvent() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    response_.Clear();
    ToProto(events_.front(), name_, response_.mutable_event());
    after_id_ = events_.front().id;
    events_.pop_front();
    writing_ = true;
    StartWrite(&response_);
  }
  void WriteHeartbeat() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    response_.Clear();
    ToProto(absl::Now(), response_.mutable_heartbeat());
    writing_ = true;
    StartWrite(&response_);
  }
  void EndAtClose() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    End(absl::UnavailableError("the coordinator is stopping; watch on after your last event"));
  }
  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(finished_, true)) return;
    grpc::ServerWriteReactor<v1::WatchJobResponse>::Finish(ToGrpc(status));
  }

  WatchHub& hub_;
  const absl::Status bounds_;  // of the request
  const std::string name_;
  std::unique_ptr<Coordinator::Subscription> subscription_;
  absl::Mutex mutex_;
  int64_t after_id_ ABSL_GUARDED_BY(mutex_);
  std::deque<JobUpdate> events_ ABSL_GUARDED_BY(mutex_);
  v1::WatchJobResponse response_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
};

WatchHub::WatchHub(Coordinator& coordinator)
    : coordinator_(coordinator), heart_([this] { Beat(); }) {}

WatchHub::~WatchHub() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
  }
  heart_.join();
}

grpc::ServerWriteReactor<v1::WatchJobResponse>* WatchHub::Watch(
    const v1::WatchJobRequest& request) {
  auto* reactor = new WatchReactor(*this, request);  // until OnDone
  {
    absl::MutexLock lock(&mutex_);
    reactors_.insert(reactor);
    if (closed_) reactor->Close();
  }
  reactor->Start();
  return reactor;
}

void WatchHub::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (WatchReactor* reactor : reactors_) reactor->Close();
}

void WatchHub::Remove(WatchReactor* reactor) {
  absl::MutexLock lock(&mutex_);
  reactors_.erase(reactor);
}

void WatchHub::Beat() {
  absl::MutexLock lock(&mutex_);
  const auto closing = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closing_; };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&closing), kHeartbeat)) {
    for (WatchReactor* reactor : reactors_) reactor->Pump(/*beat=*/true);
  }
}

}  // namespace birkhoff
