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

// Thread-safe.
class RpcMetrics {
 public:
  static std::shared_ptr<RpcMetrics> New();
  virtual ~RpcMetrics() = default;

  // The same numbers for as long as either lives.
  virtual std::shared_ptr<prometheus::Collectable> collectable() = 0;
  // For a server's builder; keeps the numbers alive.
  virtual std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Interceptors() = 0;
};

}  // namespace birkhoff
