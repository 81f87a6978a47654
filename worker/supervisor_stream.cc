#include "worker/supervisor_stream.h"

#include <grpcpp/grpcpp.h>

#include <thread>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "birkhoff/v1/worker_service.grpc.pb.h"
#include "core/net/channel.h"
#include "core/net/convert.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kGoodbye = absl::Seconds(1);

class GrpcStream final : public CoordinatorStream {
 public:
  GrpcStream(const std::string& address, Callbacks callbacks)
      : callbacks_(std::move(callbacks)),
        stub_(v1::WorkerService::NewStub(NewChannel(address))),
        stream_(stub_->Connect(&context_)),
        reader_([this] { ReadAll(); }) {}
  // The last words of a worker that leaves must arrive: the coordinator closes once it has read
  // them, or is not there to read.
  ~GrpcStream() override {
    stream_->WritesDone();
    if (!ended_.WaitForNotificationWithTimeout(kGoodbye)) context_.TryCancel();
    reader_.join();
  }

  bool Write(const WorkerMessage& message) override {
    v1::ConnectRequest request;
    ToProto(message, &request);
    return stream_->Write(request);
  }

 private:
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
  std::thread reader_;
};

}  // namespace

std::unique_ptr<CoordinatorStream> CoordinatorStream::Open(const std::string& address,
                                                           Callbacks callbacks) {
  return std::make_unique<GrpcStream>(address, std::move(callbacks));
}

}  // namespace birkhoff
