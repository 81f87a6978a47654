// The RPC server on loopback: where it listens, what it says of its health, how it ends; and the
// channels that lead to it.
#include "core/net/server.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <string>

#include "birkhoff/v1/job_service.grpc.pb.h"
#include "core/net/channel.h"
#include "tests/core/net/health_check.h"

namespace birkhoff {
namespace {

class VersionService final : public v1::JobService::CallbackService {
  grpc::ServerUnaryReactor* GetVersion(grpc::CallbackServerContext* context,
                                       const v1::GetVersionRequest*,
                                       v1::GetVersionResponse* response) override {
    response->set_version("7");
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

TEST(RpcServer, ServesOnAnEphemeralPortAndSaysItIsHealthy) {
  VersionService service;
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_NE((*server)->address(), "127.0.0.1:0");
  const auto stub = v1::JobService::NewStub(NewChannel((*server)->address()));
  grpc::ClientContext context;
  v1::GetVersionResponse response;
  EXPECT_TRUE(stub->GetVersion(&context, {}, &response).ok());
  EXPECT_EQ(response.version(), "7");
  const absl::StatusOr<std::string> health = CheckHealth((*server)->address());
  ASSERT_TRUE(health.ok()) << health.status();
  EXPECT_EQ(*health, std::string("\x08\x01"));  // SERVING
}

TEST(RpcServer, MethodsLeftOutAreUnimplemented) {
  VersionService service;
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto stub = v1::JobService::NewStub(NewChannel((*server)->address()));
  grpc::ClientContext context;
  v1::GetJobResponse response;
  EXPECT_EQ(stub->GetJob(&context, {}, &response).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST(RpcServer, RefusesPlaintextBeyondLoopback) {
  const auto server = RpcServer::Start({.listen = "0.0.0.0:0"}, {});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(server.status().message().find("--allow-plaintext"), std::string::npos);
  VersionService service;
  EXPECT_TRUE(RpcServer::Start({.listen = "0.0.0.0:0", .allow_plaintext = true}, {&service}).ok());
}

TEST(RpcServer, RefusesWhatIsNoAddressWithAPort) {
  for (const char* listen : {"127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", ":7443",
                             "127.0.0.1:http", "::1:7443", ""}) {
    const auto server = RpcServer::Start({.listen = listen}, {});
    EXPECT_EQ(server.status().code(), absl::StatusCode::kInvalidArgument) << listen;
    EXPECT_NE(server.status().message().find("need HOST:PORT"), std::string::npos) << listen;
  }
}

TEST(RpcServer, IsHealthyAsLongAsItIsTold) {
  VersionService service;
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  (*server)->SetHealthy(false);
  EXPECT_EQ(CheckHealth((*server)->address()).value_or(""), std::string("\x08\x02"));
  (*server)->SetHealthy(true);
  EXPECT_EQ(CheckHealth((*server)->address()).value_or(""), std::string("\x08\x01"));
}

TEST(RpcServer, SaysThatAPortIsTaken) {
  VersionService service;
  const auto first = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = RpcServer::Start({.listen = (*first)->address()}, {&service});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find((*first)->address()), std::string::npos);
}

TEST(RpcServer, IsGoneAfterAShutdownThatMayBeRepeated) {
  VersionService service;
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  (*server)->Shutdown(absl::ZeroDuration());
  (*server)->Shutdown(absl::ZeroDuration());
  const auto channel = NewChannel((*server)->address());
  const absl::Status status =
      WaitForChannel(*channel, (*server)->address(), absl::Milliseconds(50));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("birkhoffd --listen"), std::string::npos);
}

TEST(Channel, AnAddressWithoutAPortIsNotAdvisedToListenOn) {
  const auto channel = NewChannel("127.0.0.1");
  const absl::Status status = WaitForChannel(*channel, "127.0.0.1", absl::Milliseconds(50));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(),
            "no coordinator answers at 127.0.0.1; need HOST:PORT, as in 127.0.0.1:7443");
}

TEST(Channel, KnowsLoopbackAddresses) {
  for (const char* address : {"127.0.0.1:1", "127.8.9.1:0", "localhost:7", "[::1]:7", "unix:/a"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address :
       {"0.0.0.0:1", "10.0.0.1:7443", "localhost.example.com:7", "[::]:1", "127.example.com:7"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace birkhoff
