// Servers with more connections than descriptors, that are deaf, and that are not.
#include "core/net/self_probe.h"

#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "coordinator/daemon.h"
#include "core/net/channel.h"
#include "core/net/status.h"

namespace birkhoff {
namespace {

DaemonOptions Options() {
  DaemonOptions options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "";
  options.store_path = ":memory:";
  options.probe_interval = absl::Milliseconds(20);
  options.probe_patience = absl::Milliseconds(500);
  return options;
}

// A process that holds `count` connections to a port, which it reads from a pipe.
class Crowd {
 public:
  explicit Crowd(int count) {
    EXPECT_EQ(::pipe(port_), 0);
    EXPECT_EQ(::pipe(ready_), 0);
    pid_ = ::fork();
    if (pid_ == 0) Hold(count);
  }
  ~Crowd() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    for (const int fd : {port_[0], port_[1], ready_[0], ready_[1]}) ::close(fd);
  }
  void Connect(const std::string& address) {
    const auto port = static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1));
    EXPECT_EQ(::write(port_[1], &port, sizeof port), static_cast<ssize_t>(sizeof port));
    char done = 0;
    EXPECT_EQ(::read(ready_[0], &done, 1), 1);
  }

 private:
  [[noreturn]] void Hold(int count) {
    uint16_t port = 0;
    if (::read(port_[0], &port, sizeof port) != sizeof port) ::_exit(1);
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(port);
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
      if (::connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof peer) != 0) break;
    }
    const char done = 1;
    if (::write(ready_[1], &done, 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }

  int port_[2], ready_[2];
  pid_t pid_ = 0;
};

// Lowers the limit of descriptors as long as it lives.
class SmallLimit {
 public:
  explicit SmallLimit(rlim_t limit) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit small{limit, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &small), 0);
  }
  ~SmallLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

absl::Status Ask(v1::JobService::Stub& stub) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
  context.set_wait_for_ready(true);
  v1::GetVersionResponse response;
  return FromGrpc(stub.GetVersion(&context, {}, &response));
}

// Item 25, with a limit of 256: gRPC's own listener stays deaf after this.
TEST(MaxConnections, MoreThanThereAreDescriptorsAreRefusedAndHarmNobody) {
  auto crowd = std::make_unique<Crowd>(300);  // before there are threads
  const SmallLimit limit(256);
  absl::Notification deaf;
  DaemonOptions options = Options();
  options.on_deaf = [&](const std::string&) { deaf.Notify(); };
  const auto daemon = Daemon::Start(options);
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  const auto inside = v1::JobService::NewStub(NewChannel((*daemon)->address()));
  ASSERT_TRUE(Ask(*inside).ok());
  crowd->Connect((*daemon)->address());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Ask(*inside).ok()) << "whoever is in is served";
  // Long enough for the probe to fail three times, were a refusal a failure.
  EXPECT_FALSE(deaf.WaitForNotificationWithTimeout(absl::Seconds(2)));
  crowd.reset();
  const auto late = v1::JobService::NewStub(NewChannel((*daemon)->address()));
  const absl::Status status = Ask(*late);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_FALSE(deaf.HasBeenNotified());
}

// A socket that listens and from which nobody takes.
TEST(SelfProbe, AServerThatTakesNobodySaysThatItIsDeaf) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(fd, any, size), 0);
  ASSERT_EQ(::listen(fd, 16), 0);
  ASSERT_EQ(::getsockname(fd, any, &size), 0);
  const std::string name = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  absl::Notification deaf;
  SelfProbe probe({name, absl::Milliseconds(1), absl::Milliseconds(50), 3},
                  [&](const std::string&) { deaf.Notify(); });
  EXPECT_TRUE(deaf.WaitForNotificationWithTimeout(absl::Seconds(30)));
  absl::Notification excused;
  std::atomic<int64_t> refused = 0;
  SelfProbe other(
      {name, absl::Milliseconds(1), absl::Milliseconds(1), 3, [&] { return ++refused; }},
      [&](const std::string&) { excused.Notify(); });
  while (refused < 20) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_FALSE(excused.HasBeenNotified()) << "one who refuses hears";
  ::close(fd);
}

TEST(SelfProbe, AServerThatAnswersIsNotDeafAndStopsAtOnce) {
  const auto daemon = Daemon::Start(Options());
  ASSERT_TRUE(daemon.ok()) << daemon.status();
  absl::Notification deaf;
  {
    SelfProbe probe({(*daemon)->address(), absl::Milliseconds(1), absl::Seconds(20), 3},
                    [&](const std::string&) { deaf.Notify(); });
    EXPECT_FALSE(deaf.WaitForNotificationWithTimeout(absl::Milliseconds(100)));
  }
  const absl::Time begin = absl::Now();
  {
    absl::Notification never;
    SelfProbe probe({"127.0.0.1:1", absl::ZeroDuration(), absl::Hours(1), 3},
                    [&](const std::string&) { never.Notify(); });
  }
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20)) << "a running call is cancelled";
}

}  // namespace
}  // namespace birkhoff
