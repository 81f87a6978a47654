// One thread: wait, call, count failures in a row; the first verdict is the last.
#include "core/net/self_probe.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "core/net/channel.h"
#include "core/net/status.h"

namespace birkhoff {
namespace {

// Where one who listens on all interfaces reaches itself.
std::string OwnAddress(const std::string& listen) {
  if (listen.starts_with("0.0.0.0:")) return "127.0.0.1:" + listen.substr(8);
  return absl::StrReplaceAll(listen, {{"[::]:", "[::1]:"}});
}

}  // namespace

SelfProbe::SelfProbe(SelfProbeOptions options, std::function<void(const std::string&)> on_deaf)
    : options_(std::move(options)), on_deaf_(std::move(on_deaf)), thread_([this] { Run(); }) {}

SelfProbe::~SelfProbe() {
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    if (running_ != nullptr) running_->TryCancel();
  }
  thread_.join();
}

void SelfProbe::Run() {
  const auto closing = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closing_; };
  for (int failures = 0; failures < options_.failures;) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&closing), options_.interval)) return;
    }
    const int64_t refused = options_.refused ? options_.refused() : 0;
    const absl::Status status = Call();
    const bool hears = status.ok() || (options_.refused && options_.refused() > refused);
    failures = hears ? 0 : failures + 1;
    absl::MutexLock lock(&mutex_);
    if (closing_) return;
    if (failures == options_.failures) on_deaf_(std::string(status.message()));
  }
}

// A channel of its own: an old connection would work for long after new ones do not.
absl::Status SelfProbe::Call() {
  const auto stub = v1::JobService::NewStub(NewChannel(OwnAddress(options_.address)));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + options_.patience));
  context.set_wait_for_ready(true);
  {
    absl::MutexLock lock(&mutex_);
    running_ = &context;
    if (closing_) context.TryCancel();
  }
  v1::GetVersionResponse response;
  const absl::Status status = FromGrpc(stub->GetVersion(&context, {}, &response));
  absl::MutexLock lock(&mutex_);
  running_ = nullptr;
  return status;
}

}  // namespace birkhoff
