// HTTP by civetweb, gRPC by the health service of gRPC itself, which is told the answers again and
// again from a thread.
#include "core/net/health_endpoint.h"

#include <civetweb.h>

#include <functional>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status_macros.h"
#include "core/net/channel.h"
#include "core/net/civetweb_stop.h"
#include "core/net/server.h"

namespace birkhoff {
namespace {

// "127.0.0.1" of "127.0.0.1:8081".
std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

class HttpSide {
 public:
  static absl::StatusOr<std::unique_ptr<HttpSide>> Start(const std::string& listen,
                                                         const Health& health) {
    RETURN_IF_ERROR(CheckListenAddress("--health-listen", listen));
    // As many threads as one kubelet and a person need; who sends half a request is dropped.
    const char* options[] = {
        "listening_ports",   listen.c_str(), "num_threads", "4", "request_timeout_ms", "2000",
        "linger_timeout_ms", "100",          nullptr};
    const mg_callbacks callbacks{};
    mg_context* context = mg_start(&callbacks, nullptr, options);
    mg_server_port port{};
    if (context == nullptr || mg_get_server_ports(context, 1, &port) != 1) {
      if (context != nullptr) mg_stop(context);
      return absl::UnavailableError(
          absl::StrCat("cannot serve health on ", listen, ": is another program using the port?"));
    }
    return std::unique_ptr<HttpSide>(new HttpSide(context, port.port, listen, health));
  }
  ~HttpSide() {
    StopCivetweb(address_, [this] { mg_stop(context_); });
  }
  HttpSide(const HttpSide&) = delete;
  HttpSide& operator=(const HttpSide&) = delete;

  const std::string& address() const { return address_; }

 private:
  struct Probe {
    const char* path;
    std::function<absl::Status()> answer;
  };

  HttpSide(mg_context* context, int port, const std::string& listen, const Health& health)
      : context_(context),
        address_(absl::StrCat(HostOf(listen), ":", port)),
        probes_{{"/startupz", [&health] { return health.Startup(); }},
                {"/livez", [&health] { return health.Liveness(); }},
                {"/readyz", [&health] { return health.Readiness(); }}} {
    for (Probe& probe : probes_) mg_set_request_handler(context_, probe.path, Answer, &probe);
  }

  static int Answer(mg_connection* connection, void* data) {
    const auto& probe = *static_cast<const Probe*>(data);
    // Handlers are found by prefix.
    if (mg_get_request_info(connection)->local_uri != std::string_view(probe.path)) return 0;
    const absl::Status status = probe.answer();
    const std::string body = status.ok() ? "ok\n" : absl::StrCat(status.message(), "\n");
    mg_printf(connection,
              "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\nConnection: close\r\n\r\n%s",
              status.ok() ? "200 OK" : "503 Service Unavailable", body.size(), body.c_str());
    return 1;
  }

  mg_context* const context_;
  const std::string address_;
  Probe probes_[3];
};

class GrpcSide {
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

class BothSides final : public HealthEndpoint {
 public:
  absl::Status Init(const HealthListen& listen, const Health& health) {
    if (!listen.http.empty()) {
      ASSIGN_OR_RETURN(http_, HttpSide::Start(listen.http, health));
    }
    if (!listen.grpc.empty()) {
      ASSIGN_OR_RETURN(grpc_, GrpcSide::Start(listen.grpc, health));
    }
    return absl::OkStatus();
  }
  std::string http_address() const override { return http_ == nullptr ? "" : http_->address(); }
  std::string grpc_address() const override { return grpc_ == nullptr ? "" : grpc_->address(); }

 private:
  std::unique_ptr<HttpSide> http_;
  std::unique_ptr<GrpcSide> grpc_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HealthEndpoint>> HealthEndpoint::Start(const HealthListen& listen,
                                                                      const Health& health) {
  auto endpoint = std::make_unique<BothSides>();
  RETURN_IF_ERROR(endpoint->Init(listen, health));
  return endpoint;
}

}  // namespace birkhoff
