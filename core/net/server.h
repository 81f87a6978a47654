// A gRPC server with health service, reflection and keepalive, around any services.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/net/listener.h"
#include "core/net/rpc_metrics.h"

namespace grpc {
class Server;
class Service;
namespace experimental {
class ExternalConnectionAcceptor;
}
}  // namespace grpc

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
  ~RpcServer();  // shuts down at once
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;

  std::string address() const { return address_; }  // with the real port
  int64_t refused() const;                          // connections beyond max_connections so far
  void SetHealthy(bool healthy);                    // what the health service answers; any thread
  // The same for one name that a client may ask for; names never set are NOT_FOUND.
  void SetHealthy(const std::string& service, bool healthy);
  // Health says NOT_SERVING, calls get `grace` to end, then they are cancelled.  Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;
  // `listener`: null for a unix socket, which gRPC listens on itself.
  RpcServer(std::unique_ptr<grpc::Server> server, std::string address,
            std::unique_ptr<Listener> listener, std::unique_ptr<Acceptor> acceptor);

  const std::unique_ptr<grpc::Server> server_;
  const std::string address_;
  const std::unique_ptr<Acceptor> acceptor_;
  const std::unique_ptr<Listener> listener_;
  bool down_ = false;
};

}  // namespace birkhoff
