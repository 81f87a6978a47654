// One thread polls.  Nobody tells it when gRPC closes a connection: at the limit it looks whether
// the descriptors that it gave away still name the same sockets.  A spare descriptor is kept for
// refusing when there is no other.
#include "core/net/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace birkhoff {
namespace {

// Nobody needs more, and all of them are looked at when they are as many.
constexpr int64_t kMostEver = 16384;
// While all are alive they are looked at so often at most, however many more come.
constexpr absl::Duration kLookAgain = absl::Milliseconds(100);

ino_t InodeOf(int fd) {
  struct stat file = {};
  return ::fstat(fd, &file) == 0 ? file.st_ino : 0;
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

absl::StatusOr<Addresses> Resolve(std::string host, const std::string& port) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo wanted = {};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  // RFC 6761: localhost is loopback (no node), also where no file of hosts says so.
  const char* node = host == "localhost" ? nullptr : host.c_str();
  const int error = ::getaddrinfo(node, port.c_str(), &wanted, &list);
  if (error != 0) return absl::UnavailableError(absl::StrCat(host, ": ", ::gai_strerror(error)));
  return Addresses(list);
}

// In the address's own place, which IPv4 and IPv6 have at one offset.
uint16_t& PortOf(sockaddr* address) { return reinterpret_cast<sockaddr_in*>(address)->sin_port; }

// A listening socket, or -1 with errno.
int ListenOn(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fd;
  const int on = 1, off = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.ai_family == AF_INET6) {  // [::] is IPv4 too
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(fd, address.ai_addr, address.ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0) {
    return fd;
  }
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

// In network order.
uint16_t BoundPort(int fd) {
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  auto* address = reinterpret_cast<sockaddr*>(&bound);
  return ::getsockname(fd, address, &size) == 0 ? PortOf(address) : 0;
}

}  // namespace

int MostConnections(int64_t descriptor_limit) {
  return static_cast<int>(std::clamp<int64_t>(descriptor_limit / 4 * 3, 1, kMostEver));
}

int MostConnections() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return MostConnections(1024);
  return MostConnections(static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 30)));
}

struct Listener::Descriptors {
  std::vector<int> listening;
  int wake = ::eventfd(0, EFD_CLOEXEC);
  int spare = ::open("/dev/null", O_RDONLY | O_CLOEXEC);  // Listener::MakeRoom
  ~Descriptors() {
    for (const int fd : listening) ::close(fd);
    for (const int fd : {wake, spare}) {
      if (fd >= 0) ::close(fd);
    }
  }
};

absl::StatusOr<std::unique_ptr<Listener>> Listener::Bind(const std::string& address, int limit) {
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  absl::StatusOr<Addresses> addresses = Resolve(host, address.substr(colon + 1));
  if (!addresses.ok()) return addresses.status();
  auto descriptors = std::make_unique<Descriptors>();
  uint16_t port = PortOf((*addresses)->ai_addr);
  int error = 0;
  for (const addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) {
    PortOf(at->ai_addr) = port;
    const int fd = ListenOn(*at);
    if (fd < 0) {
      error = errno;
      continue;  // a machine may lack one of the protocols
    }
    descriptors->listening.push_back(fd);
    port = BoundPort(fd);
  }
  // A name of two addresses of which one is taken is taken.
  if (descriptors->listening.empty() || error == EADDRINUSE) {
    return absl::UnavailableError(std::strerror(error));
  }
  return std::unique_ptr<Listener>(
      new Listener(absl::StrCat(host, ":", ntohs(port)), limit, std::move(descriptors)));
}

Listener::Listener(std::string address, int limit, std::unique_ptr<Descriptors> descriptors)
    : address_(std::move(address)), limit_(limit), descriptors_(std::move(descriptors)) {}

Listener::~Listener() { Stop(); }

void Listener::Start(std::function<void(int, int)> take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
}

void Listener::Stop() {
  if (thread_.joinable()) {
    ::eventfd_write(descriptors_->wake, 1);
    thread_.join();
  }
  descriptors_.reset();
}

int64_t Listener::refused() const {
  absl::MutexLock lock(&mutex_);
  return refused_;
}

void Listener::Run() {
  std::vector<pollfd> polled = {{descriptors_->wake, POLLIN, 0}};
  for (const int fd : descriptors_->listening) polled.push_back({fd, POLLIN, 0});
  for (;;) {
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) Accept(polled[i].fd);
    }
  }
}

void Listener::Accept(int listener) {
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) return MakeRoom(listener);
  if (fd < 0) return;  // whoever it was has gone again
  if (IsFull()) return Refuse(fd);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  taken_[fd] = InodeOf(fd);
  take_(listener, fd);
}

// A connection that nobody takes would be told again and again.
void Listener::MakeRoom(int listener) {
  if (descriptors_->spare >= 0) ::close(descriptors_->spare);
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd >= 0) Refuse(fd);
  descriptors_->spare = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd < 0) absl::SleepFor(absl::Milliseconds(10));  // somebody else took the place
}

void Listener::Refuse(int connection) {
  {
    absl::MutexLock lock(&mutex_);
    ++refused_;
  }
  ::close(connection);
}

bool Listener::IsFull() {
  if (static_cast<int>(taken_.size()) < limit_) return false;
  const Instant now = SystemClock().Now();
  if (looked_ && now - *looked_ < kLookAgain) return true;
  std::erase_if(taken_, [](const auto& taken) { return InodeOf(taken.first) != taken.second; });
  const bool full = static_cast<int>(taken_.size()) >= limit_;
  if (full) looked_ = now;
  return full;
}

}  // namespace birkhoff
