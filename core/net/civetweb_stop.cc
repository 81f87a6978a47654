// Knocks at the port of a server that is to stop, over loopback.
#include "core/net/civetweb_stop.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace birkhoff {
namespace {

void ConnectAndHangUp(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // That the server hears of it is all: an answer is not waited for.
  (void)::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::close(fd);
}

}  // namespace

void StopCivetweb(int port, const std::function<void()>& stop) {
  std::atomic<bool> stopped = false;
  std::thread stopping([&] {
    stop();
    stopped = true;
  });
  while (!stopped) {
    ConnectAndHangUp(port);
    ::poll(nullptr, 0, /*milliseconds=*/10);
  }
  stopping.join();
}

}  // namespace birkhoff
