// Health over real sockets: HTTP by requests of ours, gRPC by its own health check.
#include "core/net/health_endpoint.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "tests/core/net/health_check.h"
#include "tests/core/net/http_request.h"

namespace birkhoff {
namespace {

class HealthEndpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto endpoint = HealthEndpoint::Start({"127.0.0.1:0", "127.0.0.1:0"}, health_);
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
  }
  // "200: ok"
  std::string Get(const std::string& path) {
    return HttpRequest(endpoint_->http_address(), path).Answer();
  }
  // gRPC is told from a thread: what it says once the lag is over.
  bool EventuallySays(const std::string& service, const std::string& want) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (absl::Now() < deadline) {
      if (CheckHealth(endpoint_->grpc_address(), service).value_or("") == want) return true;
    }
    return false;
  }

  const SystemClock clock_ = {};
  Health health_{clock_};
  std::unique_ptr<HealthEndpoint> endpoint_;
};

TEST_F(HealthEndpointTest, SaysOverHttpWhyAProgramIsNotThere) {
  EXPECT_EQ(Get("/startupz"), "503: starting\n");
  EXPECT_EQ(Get("/livez"), "200: ok\n");
  EXPECT_EQ(Get("/readyz"), "503: starting\n");
  health_.Beat();
  health_.SetReady(absl::UnavailableError("job store: disk is full"));
  EXPECT_EQ(Get("/startupz"), "200: ok\n");
  EXPECT_EQ(Get("/readyz"), "503: job store: disk is full\n");
  health_.SetReady(absl::OkStatus());
  EXPECT_EQ(Get("/readyz"), "200: ok\n");
}

TEST_F(HealthEndpointTest, SaysOverGrpcTheSame) {
  EXPECT_EQ(CheckHealth(endpoint_->grpc_address(), "startup").value_or(""), kNotServing);
  EXPECT_EQ(CheckHealth(endpoint_->grpc_address(), "liveness").value_or(""), kServing);
  health_.Beat();
  health_.SetReady(absl::OkStatus());
  EXPECT_TRUE(EventuallySays("startup", kServing));
  EXPECT_TRUE(EventuallySays("readiness", kServing));
  EXPECT_TRUE(EventuallySays("", kServing));
  health_.SetStopping();
  EXPECT_TRUE(EventuallySays("readiness", kNotServing));
  EXPECT_TRUE(EventuallySays("", kNotServing));
  EXPECT_TRUE(EventuallySays("liveness", kServing)) << "it drains";
  EXPECT_EQ(CheckHealth(endpoint_->grpc_address(), "other").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(HealthEndpointTest, ServesNothingElse) {
  for (const char* path : {"/", "/metrics", "/livez/more", "/livezz", "/../etc/passwd"}) {
    EXPECT_EQ(Get(path).substr(0, 3), "404") << path;
  }
}

TEST_F(HealthEndpointTest, SaysThatAPortIsTaken) {
  const auto http = HealthEndpoint::Start({endpoint_->http_address(), ""}, health_);
  EXPECT_EQ(http.status().code(), absl::StatusCode::kUnavailable);
  const auto grpc = HealthEndpoint::Start({"", endpoint_->grpc_address()}, health_);
  EXPECT_EQ(grpc.status().code(), absl::StatusCode::kUnavailable);
}

TEST(HealthEndpoint, RefusesWhatIsNoAddressAndNamesTheFlag) {
  const SystemClock clock;
  const Health health(clock);
  const absl::Status http = HealthEndpoint::Start({"8081", ""}, health).status();
  EXPECT_EQ(http.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(http.message(), "--health-listen")) << http;
  const absl::Status grpc = HealthEndpoint::Start({"", "here"}, health).status();
  EXPECT_EQ(grpc.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(grpc.message(), "--health-grpc-listen")) << grpc;
}

TEST(HealthEndpoint, MayServeNothingAtAll) {
  const SystemClock clock;
  const Health health(clock);
  const auto endpoint = HealthEndpoint::Start({}, health);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ((*endpoint)->http_address(), "");
  EXPECT_EQ((*endpoint)->grpc_address(), "");
}

}  // namespace
}  // namespace birkhoff
