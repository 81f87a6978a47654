// A server that has run out of descriptors, and one that has not.
#include "core/net/self_probe.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/synchronization/notification.h"
#include "coordinator/daemon.h"

namespace birkhoff {
namespace {

DaemonOptions Options() {
  DaemonOptions options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "";
  options.store_path = ":memory:";
  options.probe_interval = absl::Milliseconds(20);
  options.probe_patience = absl::Milliseconds(300);
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

// Issue item 25, with a limit of 256.
TEST(SelfProbe, AServerOutOfDescriptorsSaysThatItIsDeaf) {
  Crowd crowd(400);  // before there are threads
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit small{256, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &small), 0);
  absl::Notification deaf;
  {
    DaemonOptions options = Options();
    options.on_deaf = [&](const std::string&) { deaf.Notify(); };
    const auto daemon = Daemon::Start(options);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    crowd.Connect((*daemon)->address());
    EXPECT_TRUE(deaf.WaitForNotificationWithTimeout(absl::Seconds(30)));
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
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
