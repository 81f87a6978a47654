// A gRPC server with health service, reflection and keepalive, around any services.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/net/rpc_metrics.h"

namespace grpc {
class Service;
}

namespace birkhoff {

struct ServerOptions {
  std::string listen;            // "127.0.0.1:7443"; port 0: ephemeral
  bool allow_plaintext = false;  // needed where `listen` is not a loopback address
  // TCP connections at a time; more are closed as they come.  0: MostConnections().
  int max_connections = 0;
  std::shared_ptr<RpcMetrics> metrics = nullptr;  // counts the calls; may be null
};

class RpcServer {
 public:
  // The services must outlive it.  INVALID_ARGUMENT: plaintext beyond loopback; UNAVAILABLE: the
  // address cannot be bound.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(
      const ServerOptions& options, const std::vector<grpc::Service*>& services);
  virtual ~RpcServer() = default;             // shuts down at once
  virtual std::string address() const = 0;    // with the real port
  virtual int64_t refused() const = 0;        // connections beyond max_connections so far
  virtual void SetHealthy(bool healthy) = 0;  // what the health service answers; any thread
  // The same for one name that a client may ask for; names never set are NOT_FOUND.
  virtual void SetHealthy(const std::string& service, bool healthy) = 0;
  // Health says NOT_SERVING, calls get `grace` to end, then they are cancelled.  Idempotent.
  virtual void Shutdown(absl::Duration grace) = 0;
};

}  // namespace birkhoff
