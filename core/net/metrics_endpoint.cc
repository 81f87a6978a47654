// An Exposer of prometheus-cpp: what it throws ends in Start, and StopCivetweb shortens its end.
#include "core/net/metrics_endpoint.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"
#include "core/net/civetweb_stop.h"

namespace birkhoff {
namespace {

class ExposerEndpoint final : public MetricsEndpoint {
 public:
  ExposerEndpoint(std::unique_ptr<prometheus::Exposer> exposer, std::string address)
      : exposer_(std::move(exposer)), address_(std::move(address)) {}
  ~ExposerEndpoint() override {
    StopCivetweb(address_, [this] { exposer_.reset(); });
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
