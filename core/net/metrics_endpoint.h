// GET /metrics in the Prometheus text format.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/net/http_server.h"

namespace prometheus {
class Collectable;
}

namespace birkhoff {

class MetricsEndpoint {
 public:
  // `listen` is "127.0.0.1:9464"; port 0: ephemeral.  `sources` are asked at every scrape, from one
  // thread of the endpoint, which keeps weak pointers to them.  Slow clients are as HttpServer says.
  // INVALID_ARGUMENT: no address, or one beyond loopback without
  // `allow_plaintext`; UNAVAILABLE: cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(
      const std::string& listen,
      const std::vector<std::shared_ptr<prometheus::Collectable>>& sources,
      bool allow_plaintext = false);
  std::string address() const { return server_->address(); }  // with the real port

 private:
  explicit MetricsEndpoint(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}

  const std::unique_ptr<HttpServer> server_;
};

}  // namespace birkhoff
