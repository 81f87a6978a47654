// What the gRPC server is asked and how it answers, for every registered method: calls begun, calls
// ended by code, how long they took, and streams that are open.  The names are those that gRPC's
// middlewares for Prometheus have in other languages.
#pragma once

#include <memory>

namespace prometheus {
class Collectable;
}
namespace grpc::experimental {
class ServerInterceptorFactoryInterface;
}

namespace birkhoff {

class RpcCounts;

// Thread-safe.
class RpcMetrics {
 public:
  RpcMetrics();

  // The same numbers for as long as either lives.
  std::shared_ptr<prometheus::Collectable> collectable() const;
  // For a server's builder; keeps the numbers alive.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Interceptors() const;

 private:
  const std::shared_ptr<RpcCounts> counts_;
};

}  // namespace birkhoff
