// The three answers of a Health for those who start and stop programs.  Over HTTP: GET /startupz,
// /livez and /readyz say 200 "ok", or 503 and why not.  Over gRPC: grpc.health.v1 with the services
// "startup", "liveness" and "readiness", and "" as readiness.
//
// A port of its own, which serves nothing else: a kubelet has no certificate, and an answer holds
// no secret, so that it may stand open where the others may not.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/health.h"
#include "core/net/http_server.h"

namespace birkhoff {

struct HealthListen {
  std::string http;  // "127.0.0.1:8081"; port 0: ephemeral; empty: none
  std::string grpc;  // likewise
};

class HealthEndpoint {
 public:
  // `health` must outlive it.  Over gRPC an answer is at most kGrpcLag old.  INVALID_ARGUMENT: no
  // address; UNAVAILABLE: cannot be bound.
  static absl::StatusOr<std::unique_ptr<HealthEndpoint>> Start(const HealthListen& listen,
                                                               const Health& health);
  static constexpr absl::Duration kGrpcLag = absl::Milliseconds(100);

  ~HealthEndpoint();
  std::string http_address() const;  // with the real port; empty: none
  std::string grpc_address() const;

 private:
  class GrpcSide;
  HealthEndpoint();

  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<GrpcSide> grpc_;
};

}  // namespace birkhoff
