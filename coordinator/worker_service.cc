// gRPC's callback reactors, one per stream.  Locks are taken in one order: the coordinator's, or
// that of the set of streams, then the stream's own.
#include "coordinator/worker_service.h"

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "birkhoff/v1/worker_service.grpc.pb.h"
#include "core/base/clock.h"
#include "core/base/guarded.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "core/base/steady_wait.h"
#include "core/net/bounds.h"
#include "core/net/convert.h"
#include "core/net/status.h"

namespace birkhoff {
namespace {

class Stream;

// The streams there are.  Its heart ends those that never greet.  Thread-safe.
class Streams {
 public:
  explicit Streams(const WorkerServiceLimits& limits)
      : limits_(limits), heart_([this] { Beat(); }) {}
  ~Streams() {
    {
      absl::MutexLock lock(&mutex_);
      closing_ = true;
      wake_.Notify();
    }
    heart_.join();
  }
  const WorkerServiceLimits& limits() const { return limits_; }
  // Not OK: why the stream must end.
  absl::Status Add(Stream* stream) {
    absl::MutexLock lock(&mutex_);
    streams_[stream] = clock_.Now();
    if (closed_) return Stopping();
    if (streams_.size() <= limits_.streams) return absl::OkStatus();
    return absl::ResourceExhaustedError("too many workers are connected");
  }
  void Close();
  void Remove(Stream* stream) {
    absl::MutexLock lock(&mutex_);
    streams_.erase(stream);
  }

 private:
  static absl::Status Stopping() { return absl::UnavailableError("the coordinator is stopping"); }
  void Beat();

  const WorkerServiceLimits limits_;
  absl::Mutex mutex_;
  const SystemClock clock_;
  std::map<Stream*, Instant> streams_ ABSL_GUARDED_BY(mutex_);  // and when each began
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;                 // no more streams
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;                // no more heart
  SteadyWait wake_;
  std::thread heart_;
};

// One worker's stream.  Reads one message at a time into the coordinator; what the coordinator
// sends is queued and written one at a time.  Deletes itself when the call has ended.
class Stream final : public grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>,
                     public WorkerLink {
 public:
  Stream(Coordinator& coordinator, Streams& streams, grpc::CallbackServerContext& context)
      : coordinator_(coordinator), streams_(streams), context_(context) {
    const absl::Status added = streams_.Add(this);
    if (added.ok()) {
      StartRead(&request_);
    } else {
      End(added);
    }
  }

  // One that does not read gets no more: after a reconnect it hears again what it must.
  void Send(CoordinatorMessage message) override {
    absl::MutexLock lock(&mutex_);
    if (ended_) return;
    if (queue_.size() >= streams_.limits().queue) {
      queue_.clear();
      EndLocked(absl::ResourceExhaustedError("this worker does not read what it is told"));
      return context_.TryCancel();
    }
    const bool last = std::holds_alternative<Refused>(message);
    queue_.push_back(std::move(message));
    WriteNext();
    if (last) refused_ = true;
  }

  // Ends the stream of one who has had time enough to greet.
  void EndUnlessGreeted() {
    absl::MutexLock lock(&mutex_);
    if (greeted_) return;
    EndLocked(absl::DeadlineExceededError("no Hello has come"));
  }

  void End(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    EndLocked(status);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(absl::OkStatus());  // the worker has closed its side, or is gone
    const absl::Status status = Guarded("Connect", [this] { return Read(); });
    if (!status.ok()) return End(status);
    StartRead(&request_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) return EndLocked(absl::OkStatus());
    WriteNext();
  }
  void OnDone() override {
    coordinator_.Disconnected(this);  // nobody sends afterwards
    streams_.Remove(this);            // waits for the heart
    delete this;
  }

 private:
  absl::Status Read() {
    RETURN_IF_ERROR(CheckBounds(request_));
    ASSIGN_OR_RETURN(const WorkerMessage message, FromProto(request_));
    if (!IsWorkerName(message.worker)) {
      return absl::InvalidArgumentError(absl::StrCat("worker: '", Printable(message.worker),
                                                     "' is not allowed; need ", kWorkerNames));
    }
    {
      absl::MutexLock lock(&mutex_);
      greeted_ = true;
    }
    return coordinator_.Handle(message, this);
  }
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || ended_) return;
    if (queue_.empty()) {
      if (refused_) EndLocked(absl::AbortedError("refused"));
      return;
    }
    response_.Clear();
    ToProto(queue_.front(), &response_);
    queue_.pop_front();
    writing_ = true;
    StartWrite(&response_);
  }
  void EndLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!std::exchange(ended_, true)) Finish(ToGrpc(status));
  }

  Coordinator& coordinator_;
  Streams& streams_;
  grpc::CallbackServerContext& context_;
  v1::ConnectRequest request_;
  absl::Mutex mutex_;
  std::deque<CoordinatorMessage> queue_ ABSL_GUARDED_BY(mutex_);
  v1::ConnectResponse response_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool refused_ ABSL_GUARDED_BY(mutex_) = false;  // the stream ends once that is written
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool greeted_ ABSL_GUARDED_BY(mutex_) = false;  // Hello came first, or it is refused
};

void Streams::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  for (const auto& [stream, begin] : streams_) stream->End(Stopping());
}

void Streams::Beat() {
  absl::MutexLock lock(&mutex_);
  const auto closing = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closing_; };
  while (!wake_.For(mutex_, limits_.greeting / 4, closing)) {
    for (const auto& [stream, begin] : streams_) {
      if (clock_.Now() - begin >= limits_.greeting) stream->EndUnlessGreeted();
    }
  }
}

class GrpcWorkerService final : public WorkerService, private v1::WorkerService::CallbackService {
 public:
  GrpcWorkerService(Coordinator& coordinator, const WorkerServiceLimits& limits)
      : coordinator_(coordinator), streams_(limits) {}
  grpc::Service* service() override { return this; }
  void EndStreams() override { streams_.Close(); }

 private:
  grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>* Connect(
      grpc::CallbackServerContext* context) override {
    return new Stream(coordinator_, streams_, *context);  // until OnDone
  }

  Coordinator& coordinator_;
  Streams streams_;
};

}  // namespace

std::unique_ptr<WorkerService> WorkerService::New(Coordinator& coordinator,
                                                  const WorkerServiceLimits& limits) {
  return std::make_unique<GrpcWorkerService>(coordinator, limits);
}

}  // namespace birkhoff
