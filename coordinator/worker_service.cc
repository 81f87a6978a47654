#include "coordinator/worker_service.h"

#include <grpcpp/support/server_callback.h>

#include <deque>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "birkhoff/v1/worker_service.grpc.pb.h"
#include "core/net/convert.h"
#include "core/net/status.h"

namespace birkhoff {
namespace {

// One worker's stream.  Reads one message at a time into the coordinator; what the coordinator
// sends is queued and written one at a time.  Deletes itself when the call has ended.
class Stream final : public grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>,
                     public WorkerLink {
 public:
  explicit Stream(Coordinator& coordinator) : coordinator_(coordinator) { StartRead(&request_); }

  void Send(CoordinatorMessage message) override {
    absl::MutexLock lock(&mutex_);
    const bool last = std::holds_alternative<Refused>(message);
    queue_.push_back(std::move(message));
    WriteNext();
    if (last) refused_ = true;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return End(absl::OkStatus());  // the worker has closed its side, or is gone
    const absl::StatusOr<WorkerMessage> message = FromProto(request_);
    absl::Status status = message.status();
    if (status.ok()) status = coordinator_.Handle(*message, this);
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
    delete this;
  }

 private:
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
  void End(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    EndLocked(status);
  }
  void EndLocked(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!std::exchange(ended_, true)) Finish(ToGrpc(status));
  }

  Coordinator& coordinator_;
  v1::ConnectRequest request_;
  absl::Mutex mutex_;
  std::deque<CoordinatorMessage> queue_ ABSL_GUARDED_BY(mutex_);
  v1::ConnectResponse response_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool refused_ ABSL_GUARDED_BY(mutex_) = false;  // the stream ends once that is written
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

class Service final : public WorkerService, private v1::WorkerService::CallbackService {
 public:
  explicit Service(Coordinator& coordinator) : coordinator_(coordinator) {}
  grpc::Service* service() override { return this; }

 private:
  grpc::ServerBidiReactor<v1::ConnectRequest, v1::ConnectResponse>* Connect(
      grpc::CallbackServerContext* /*context*/) override {
    return new Stream(coordinator_);  // until OnDone
  }

  Coordinator& coordinator_;
};

}  // namespace

std::unique_ptr<WorkerService> WorkerService::New(Coordinator& coordinator) {
  return std::make_unique<Service>(coordinator);
}

}  // namespace birkhoff
