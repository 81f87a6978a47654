// Knocks at the address of a server that is to stop.
#include "core/net/civetweb_stop.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

namespace birkhoff {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

// Null: none.  The address of all interfaces leads to this machine too.
Addresses Resolve(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) {
    found = nullptr;
  }
  return {found, &::freeaddrinfo};
}

void ConnectAndHangUp(const addrinfo& to) {
  const int fd = ::socket(to.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // That the server hears of it is all: an answer is not waited for.
  (void)::connect(fd, to.ai_addr, to.ai_addrlen);
  ::close(fd);
}

}  // namespace

void StopCivetweb(const std::string& address, const std::function<void()>& stop) {
  const Addresses to = Resolve(address);
  std::atomic<bool> stopped = false;
  std::thread stopping([&] {
    stop();
    stopped = true;
  });
  while (!stopped) {
    if (to != nullptr) ConnectAndHangUp(*to);
    ::poll(nullptr, 0, /*milliseconds=*/10);
  }
  stopping.join();
}

}  // namespace birkhoff
