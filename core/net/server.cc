#include "core/net/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/server_interceptor.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "core/net/bounds.h"
#include "core/net/channel.h"
#include "core/net/keepalive.h"

namespace birkhoff {
namespace {

constexpr int kHandshakeTimeoutMs = 10'000;
constexpr int kIdleTimeoutMs = 300'000;  // without a call

class GrpcServer final : public RpcServer {
 public:
  GrpcServer(std::unique_ptr<grpc::Server> server, std::string address)
      : server_(std::move(server)), address_(std::move(address)) {}
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  std::string address() const override { return address_; }

  void SetHealthy(bool healthy) override {
    if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(healthy);
  }

  void Shutdown(absl::Duration grace) override {
    if (std::exchange(down_, true)) return;
    if (auto* health = server_->GetHealthCheckService()) health->Shutdown();
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
  }

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  bool down_ = false;
};

void Configure(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kKeepaliveServerMinimumMs);
  // Two servers must not share a port by accident: the second shall say so.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Connections cost descriptors: one that says nothing is not kept.
  builder.AddChannelArgument("grpc.server_handshake_timeout_ms", kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleTimeoutMs);
  builder.SetMaxReceiveMessageSize(kLargestRequestBytes);
}

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    const ServerOptions& options, const std::vector<grpc::Service*>& services) {
  RETURN_IF_ERROR(CheckListenAddress("--listen", options.listen));
  if (!IsLoopback(options.listen) && !options.allow_plaintext) {
    return absl::InvalidArgumentError(
        absl::StrCat("listen ", options.listen,
                     " is open to other machines without encryption; "
                     "need a loopback address, or --allow-plaintext"));
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  Configure(builder);
  int port = 0;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  if (options.metrics != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> counted;
    counted.push_back(options.metrics->Interceptors());
    builder.experimental().SetInterceptorCreators(std::move(counted));
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.listen, ": is another program using the port?"));
  }
  const std::string address = absl::StartsWith(options.listen, "unix:")
                                  ? options.listen
                                  : absl::StrCat(HostOf(options.listen), ":", port);
  return std::make_unique<GrpcServer>(std::move(server), address);
}

}  // namespace birkhoff
