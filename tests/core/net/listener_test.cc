// The bound on connections, by itself.
#include "core/net/listener.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace birkhoff {
namespace {

// A connection to 127.0.0.1, which closes it in the end.
class Client {
 public:
  explicit Client(const std::string& address) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<uint16_t>(std::atoi(&address[address.rfind(':') + 1])));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<sockaddr*>(&peer), sizeof peer), 0);
  }
  ~Client() { ::close(fd_); }
  // Waits for the word of whoever has taken it; false: it was closed.
  bool Hears() const {
    char byte = 0;
    return ::read(fd_, &byte, 1) == 1;
  }

 private:
  const int fd_;
};

// Greets everybody and keeps them until it is told.
class Host {
 public:
  explicit Host(int limit) : listener_(*Listener::Bind("127.0.0.1:0", limit)) {
    listener_->Start([this](int, int connection) {
      EXPECT_EQ(::write(connection, "h", 1), 1);
      absl::MutexLock lock(&mutex_);
      guests_.push_back(connection);
    });
  }
  ~Host() {
    listener_->Stop();
    SendAllHome();
  }
  void SendAllHome() {
    absl::MutexLock lock(&mutex_);
    for (const int fd : guests_) ::close(fd);
    guests_.clear();
  }
  Listener& listener() { return *listener_; }
  const std::string address() const { return listener_->address(); }

 private:
  absl::Mutex mutex_;
  std::vector<int> guests_ ABSL_GUARDED_BY(mutex_);
  const std::unique_ptr<Listener> listener_;
};

TEST(Listener, ClosesConnectionsBeyondItsLimitAndTakesOthersOnceThereIsRoom) {
  Host host(2);
  const Client a(host.address()), b(host.address());
  EXPECT_TRUE(a.Hears() && b.Hears());
  for (int i = 1; i <= 3; ++i) {
    EXPECT_FALSE(Client(host.address()).Hears());
    EXPECT_EQ(host.listener().refused(), i);
  }
  host.SendAllHome();
  bool taken = false;  // it looks again after a moment
  while (!taken) taken = Client(host.address()).Hears();
}

TEST(Listener, GivesItsAddressBack) {
  std::string address;
  {
    Host host(1);
    address = host.address();
    EXPECT_FALSE(Listener::Bind(address, 1).ok());
  }
  EXPECT_TRUE(Listener::Bind(address, 1).ok());
}

TEST(Listener, KnowsNamesAndBothProtocols) {
  EXPECT_TRUE(Listener::Bind("localhost:0", 1).ok());
  const auto foreign = Listener::Bind("192.0.2.1:0", 1);
  EXPECT_TRUE(absl::IsUnavailable(foreign.status())) << foreign.status();
}

TEST(MostConnections, LeavesAQuarterOfTheDescriptorsToOthers) {
  EXPECT_EQ(MostConnections(256), 192);
  EXPECT_EQ(MostConnections(1024), 768);
  EXPECT_EQ(MostConnections(1), 1);
  EXPECT_EQ(MostConnections(int64_t{1} << 40), 16384);
}

}  // namespace
}  // namespace birkhoff
