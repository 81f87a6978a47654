#include "core/net/metrics_endpoint.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

class ExposerEndpoint final : public MetricsEndpoint {
 public:
  ExposerEndpoint(std::unique_ptr<prometheus::Exposer> exposer, std::string address)
      : exposer_(std::move(exposer)), address_(std::move(address)) {}
  std::string address() const override { return address_; }

 private:
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(
    const std::string& listen, const std::shared_ptr<prometheus::Collectable>& source) {
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(listen, /*num_threads=*/2);
    exposer->RegisterCollectable(source);
    const std::string address =
        absl::StrCat(listen.substr(0, listen.rfind(':')), ":", exposer->GetListeningPorts().at(0));
    return std::make_unique<ExposerEndpoint>(std::move(exposer), address);
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve metrics on ", listen, ": ", error.what()));
  }
}

}  // namespace birkhoff
