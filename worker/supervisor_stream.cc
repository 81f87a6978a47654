// gRPC's blocking stream between two threads: the outbox's writes, the other reads and hears the
// stream's end.
#include "worker/supervisor_stream.h"

#include <grpcpp/grpcpp.h>

#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "birkhoff/v1/worker_service.grpc.pb.h"
#include "core/net/channel.h"
#include "core/net/convert.h"
#include "worker/outbox.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kGoodbye = absl::Seconds(1);
constexpr size_t kMostWords = 16384;  // a whole journal and more

class GrpcStream final : public CoordinatorStream {
 public:
  GrpcStream(const std::string& address, Callbacks callbacks)
      : callbacks_(std::move(callbacks)),
        stub_(v1::WorkerService::NewStub(NewChannel(address))),
        stream_(stub_->Connect(&context_)),
        outbox_([this](const WorkerMessage& message) { return WriteOne(message); }, kMostWords),
        reader_([this] { ReadAll(); }) {}
  // The last words of a worker that leaves must arrive: the coordinator closes once it has read
  // them, or is not there to read.
  ~GrpcStream() override {
    if (outbox_.Drain(kGoodbye)) {
      stream_->WritesDone();
      ended_.WaitForNotificationWithTimeout(kGoodbye);
    }
    if (!ended_.HasBeenNotified()) context_.TryCancel();
    reader_.join();
  }

  bool Write(const WorkerMessage& message) override {
    if (outbox_.Push(message)) return true;
    context_.TryCancel();  // a coordinator that does not read hears all of it after a reconnect
    return false;
  }

 private:
  bool WriteOne(const WorkerMessage& message) {
    v1::ConnectRequest request;
    ToProto(message, &request);
    return stream_->Write(request);
  }
  void ReadAll() {
    v1::ConnectResponse response;
    while (stream_->Read(&response)) {
      absl::StatusOr<CoordinatorMessage> message = FromProto(response);
      if (!message.ok()) {
        context_.TryCancel();  // another release speaks; nothing after this can be trusted
        break;
      }
      callbacks_.on_message(*std::move(message));
    }
    callbacks_.on_end(stream_->Finish().error_message());
    ended_.Notify();
  }

  const Callbacks callbacks_;
  absl::Notification ended_;
  grpc::ClientContext context_;
  const std::unique_ptr<v1::WorkerService::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<v1::ConnectRequest, v1::ConnectResponse>> stream_;
  Outbox<WorkerMessage> outbox_;
  std::thread reader_;  // last: where it cannot be had, the others go as they came
};

}  // namespace

std::unique_ptr<CoordinatorStream> CoordinatorStream::Open(const std::string& address,
                                                           Callbacks callbacks) {
  return std::make_unique<GrpcStream>(address, std::move(callbacks));
}

}  // namespace birkhoff
