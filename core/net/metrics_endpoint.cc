#include "core/net/metrics_endpoint.h"

#include <arpa/inet.h>
#include <poll.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"

namespace birkhoff {
namespace {

void ConnectAndHangUp(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // That the server hears of it is all: an answer is not waited for.
  (void)::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::close(fd);
}

class ExposerEndpoint final : public MetricsEndpoint {
 public:
  ExposerEndpoint(std::unique_ptr<prometheus::Exposer> exposer, std::string address)
      : exposer_(std::move(exposer)), address_(std::move(address)) {}
  // The server's accepting thread looks whether it shall stop when somebody connects, else every
  // two seconds, which would be most of the life of a short run.
  ~ExposerEndpoint() override {
    const int port = exposer_->GetListeningPorts().at(0);
    std::atomic<bool> stopped = false;
    std::thread stop([&] {
      exposer_.reset();
      stopped = true;
    });
    while (!stopped) {
      ConnectAndHangUp(port);
      ::poll(nullptr, 0, /*milliseconds=*/10);
    }
    stop.join();
  }
  std::string address() const override { return address_; }

 private:
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& listen, const std::vector<std::shared_ptr<prometheus::Collectable>>& sources,
    bool allow_plaintext) {
  RETURN_IF_ERROR(CheckListenAddress("--metrics-listen", listen));
  if (!IsLoopback(listen) && !allow_plaintext) {
    return absl::InvalidArgumentError(
        absl::StrCat("metrics on ", listen,
                     " are open to other machines without encryption; "
                     "need a loopback address, or --allow-plaintext"));
  }
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(
        std::vector<std::string>{"listening_ports", listen, "num_threads", "8",
                                 "request_timeout_ms", "2000", "linger_timeout_ms", "100"});
    for (const auto& source : sources) exposer->RegisterCollectable(source);
    const std::string address =
        absl::StrCat(listen.substr(0, listen.rfind(':')), ":", exposer->GetListeningPorts().at(0));
    return std::make_unique<ExposerEndpoint>(std::move(exposer), address);
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics on ", listen, ": ", error.what()));
  }
}

}  // namespace birkhoff
