// Pages of HTTP, and the health service of gRPC itself, which is told the answers again and
// again from a thread.
#include "core/net/health_endpoint.h"

#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"
#include "core/net/server.h"

namespace birkhoff {
namespace {

absl::StatusOr<std::unique_ptr<HttpServer>> StartHttp(const std::string& listen,
                                                      const Health& health) {
  RETURN_IF_ERROR(CheckListenAddress("--health-listen", listen));
  const auto page = [&health](absl::Status (Health::*answer)() const) {
    return [&health, answer](const HttpQuery&) {
      const absl::Status status = (health.*answer)();
      return status.ok() ? HttpPage{.body = "ok\n"}
                         : HttpPage{.code = 503, .body = absl::StrCat(status.message(), "\n")};
    };
  };
  auto server = HttpServer::Start(listen, {{"/startupz", page(&Health::Startup)},
                                           {"/livez", page(&Health::Liveness)},
                                           {"/readyz", page(&Health::Readiness)}});
  if (server.ok()) return server;
  return absl::UnavailableError(absl::StrCat("cannot serve health on ", listen, ": ",
                                             server.status().message(),
                                             ": is another program using the port?"));
}

}  // namespace

class HealthEndpoint::GrpcSide {
 public:
  static absl::StatusOr<std::unique_ptr<GrpcSide>> Start(const std::string& listen,
                                                         const Health& health) {
    RETURN_IF_ERROR(CheckListenAddress("--health-grpc-listen", listen));
    ASSIGN_OR_RETURN(std::unique_ptr<RpcServer> server,
                     RpcServer::Start({listen, /*allow_plaintext=*/true}, {}));
    return std::unique_ptr<GrpcSide>(new GrpcSide(std::move(server), health));
  }
  ~GrpcSide() {
    {
      absl::MutexLock lock(&mutex_);
      closing_ = true;
    }
    thread_.join();
  }
  GrpcSide(const GrpcSide&) = delete;
  GrpcSide& operator=(const GrpcSide&) = delete;

  std::string address() const { return server_->address(); }

 private:
  GrpcSide(std::unique_ptr<RpcServer> server, const Health& health)
      : server_(std::move(server)), health_(health) {
    Tell();
    thread_ = std::thread([this] { Run(); });
  }

  void Tell() {
    const bool ready = health_.Readiness().ok();
    server_->SetHealthy("", ready);
    server_->SetHealthy("readiness", ready);
    server_->SetHealthy("liveness", health_.Liveness().ok());
    server_->SetHealthy("startup", health_.Startup().ok());
  }
  void Run() {
    absl::MutexLock lock(&mutex_);
    const auto closing = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return closing_; };
    while (!mutex_.AwaitWithTimeout(absl::Condition(&closing), HealthEndpoint::kGrpcLag)) Tell();
  }

  const std::unique_ptr<RpcServer> server_;
  const Health& health_;
  absl::Mutex mutex_;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

HealthEndpoint::HealthEndpoint() = default;
HealthEndpoint::~HealthEndpoint() = default;

absl::StatusOr<std::unique_ptr<HealthEndpoint>> HealthEndpoint::Start(const HealthListen& listen,
                                                                      const Health& health) {
  auto endpoint = std::unique_ptr<HealthEndpoint>(new HealthEndpoint());
  if (!listen.http.empty()) {
    ASSIGN_OR_RETURN(endpoint->http_, StartHttp(listen.http, health));
  }
  if (!listen.grpc.empty()) {
    ASSIGN_OR_RETURN(endpoint->grpc_, GrpcSide::Start(listen.grpc, health));
  }
  return endpoint;
}

std::string HealthEndpoint::http_address() const {
  return http_ == nullptr ? "" : http_->address();
}

std::string HealthEndpoint::grpc_address() const {
  return grpc_ == nullptr ? "" : grpc_->address();
}

}  // namespace birkhoff
