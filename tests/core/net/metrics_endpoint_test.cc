// Scrapes over real sockets, also beside requests that are never finished.
#include "core/net/metrics_endpoint.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "tests/core/net/http_request.h"

namespace birkhoff {
namespace {

class OneGauge final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    prometheus::MetricFamily family{"answer", "The answer.", prometheus::MetricType::Gauge, {}};
    family.metric.emplace_back().gauge.value = 42;
    return {family};
  }
};

// A connection that has sent `begin`; -1: none.
int Open(const std::string& address, const std::string& begin) {
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof peer), 0);
  EXPECT_EQ(::send(fd, begin.data(), begin.size(), 0), static_cast<ssize_t>(begin.size()));
  return fd;
}

std::string Scrape(const std::string& address) { return HttpRequest(address, "/metrics").Answer(); }

TEST(MetricsEndpoint, ServesTheTextFormOnAnEphemeralPort) {
  const auto source = std::make_shared<OneGauge>();
  const auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", {source});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const std::string answer = Scrape((*endpoint)->address());
  EXPECT_EQ(answer.find("200: "), 0u) << answer;
  EXPECT_NE(answer.find("# HELP answer The answer.\n# TYPE answer gauge\nanswer 42\n"),
            std::string::npos)
      << answer;
}

// Issue item 30: more of them than there are threads, and nobody waits longer than for one.
TEST(MetricsEndpoint, RequestsThatAreHalfSentDoNotStopIt) {
  const auto source = std::make_shared<OneGauge>();
  const auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", {source});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  std::vector<int> halves;
  for (int i = 0; i < 12; ++i) halves.push_back(Open((*endpoint)->address(), "GET /met"));
  const absl::Time begin = absl::Now();
  EXPECT_NE(Scrape((*endpoint)->address()).find("answer 42"), std::string::npos);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  for (const int fd : halves) ::close(fd);
}

// Each would take two seconds.
TEST(MetricsEndpoint, StopsAtOnceWhateverItListensOn) {
  const auto source = std::make_shared<OneGauge>();
  const absl::Time begin = absl::Now();
  for (const char* listen : {"127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0", "127.0.0.3:0"}) {
    const auto endpoint = MetricsEndpoint::Start(listen, {source}, /*allow_plaintext=*/true);
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  }
  EXPECT_LT(absl::Now() - begin, absl::Seconds(3));
}

TEST(MetricsEndpoint, RefusesPlaintextBeyondLoopback) {
  const auto source = std::make_shared<OneGauge>();
  const auto open = MetricsEndpoint::Start("0.0.0.0:0", {source});
  EXPECT_EQ(open.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(open.status().message().find("--allow-plaintext"), std::string::npos);
  EXPECT_TRUE(MetricsEndpoint::Start("0.0.0.0:0", {source}, /*allow_plaintext=*/true).ok());
}

TEST(MetricsEndpoint, SaysThatAPortIsTaken) {
  const auto source = std::make_shared<OneGauge>();
  const auto first = MetricsEndpoint::Start("127.0.0.1:0", {source});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = MetricsEndpoint::Start((*first)->address(), {source});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find((*first)->address()), std::string::npos);
}

}  // namespace
}  // namespace birkhoff
