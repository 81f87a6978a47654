// TCP connections are taken by a Listener and handed to gRPC by descriptor; a unix socket is gRPC's
// own.  Shutdown goes from outside inwards: health, listener, calls.
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

absl::Status CannotListen(const std::string& address, const std::string& why) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ", why,
                                             "; is another program using the port?"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(
    const ServerOptions& options, const std::vector<grpc::Service*>& services) {
  RETURN_IF_ERROR(CheckListenAddress("--listen", options.listen));
  RETURN_IF_ERROR(CheckPlaintext(absl::StrCat("listen ", options.listen, " is"), options.listen,
                                 options.allow_plaintext));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  Configure(builder);
  std::unique_ptr<Listener> listener;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
  if (absl::StartsWith(options.listen, "unix:")) {
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials());
  } else {
    absl::StatusOr<std::unique_ptr<Listener>> bound = Listener::Bind(
        options.listen, options.max_connections > 0 ? options.max_connections : MostConnections());
    if (!bound.ok()) return CannotListen(options.listen, std::string(bound.status().message()));
    listener = *std::move(bound);
    acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
        grpc::InsecureServerCredentials());
  }
  for (grpc::Service* service : services) builder.RegisterService(service);
  if (options.metrics != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> counted;
    counted.push_back(options.metrics->Interceptors());
    builder.experimental().SetInterceptorCreators(std::move(counted));
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return CannotListen(options.listen, "the server does not start");
  const std::string address = listener == nullptr ? options.listen : listener->address();
  return std::unique_ptr<RpcServer>(
      new RpcServer(std::move(server), address, std::move(listener), std::move(acceptor)));
}

RpcServer::RpcServer(std::unique_ptr<grpc::Server> server, std::string address,
                     std::unique_ptr<Listener> listener, std::unique_ptr<Acceptor> acceptor)
    : server_(std::move(server)),
      address_(std::move(address)),
      acceptor_(std::move(acceptor)),
      listener_(std::move(listener)) {
  if (listener_ == nullptr) return;
  listener_->Start([this](int listening, int connection) {
    Acceptor::NewConnectionParameters parameters;
    parameters.listener_fd = listening;
    parameters.fd = connection;
    acceptor_->HandleNewConnection(&parameters);
  });
}

RpcServer::~RpcServer() { Shutdown(absl::ZeroDuration()); }

int64_t RpcServer::refused() const { return listener_ == nullptr ? 0 : listener_->refused(); }

void RpcServer::SetHealthy(bool healthy) {
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(healthy);
}

void RpcServer::SetHealthy(const std::string& service, bool healthy) {
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(service, healthy);
}

void RpcServer::Shutdown(absl::Duration grace) {
  if (std::exchange(down_, true)) return;
  if (auto* health = server_->GetHealthCheckService()) health->Shutdown();
  if (listener_ != nullptr) listener_->Stop();  // one that comes now would find nobody
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
}

}  // namespace birkhoff
