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

// The whole answer to GET /metrics.
std::string Scrape(const std::string& address) {
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  std::string answer;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof peer) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(::send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t got; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, got);
  }
  ::close(fd);
  return answer;
}

TEST(MetricsEndpoint, ServesTheTextFormOnAnEphemeralPort) {
  const auto source = std::make_shared<OneGauge>();
  const auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", source);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  const std::string answer = Scrape((*endpoint)->address());
  EXPECT_NE(answer.find("200 OK"), std::string::npos) << answer;
  EXPECT_NE(answer.find("# HELP answer The answer.\n# TYPE answer gauge\nanswer 42\n"),
            std::string::npos)
      << answer;
}

TEST(MetricsEndpoint, SaysThatAPortIsTaken) {
  const auto source = std::make_shared<OneGauge>();
  const auto first = MetricsEndpoint::Start("127.0.0.1:0", source);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = MetricsEndpoint::Start((*first)->address(), source);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find((*first)->address()), std::string::npos);
}

}  // namespace
}  // namespace birkhoff
