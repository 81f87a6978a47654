// The look-up of the peer's name, then the kernel's word on which of our addresses leads there.
#include "worker/own_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

absl::StatusOr<AddressList> LookUp(const std::string& peer) {
  const size_t colon = peer.rfind(':');
  if (colon == std::string::npos || colon + 1 == peer.size()) {
    return absl::InvalidArgumentError(absl::StrCat("address: ", peer, "; need HOST:PORT"));
  }
  absl::string_view host = absl::string_view(peer).substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error =
      ::getaddrinfo(std::string(host).c_str(), peer.c_str() + colon + 1, &hints, &found);
  if (error != 0) return absl::UnavailableError(absl::StrCat(host, ": ", ::gai_strerror(error)));
  return AddressList(found, &::freeaddrinfo);
}

}  // namespace

absl::StatusOr<std::string> OwnAddressTowards(const std::string& peer) {
  ASSIGN_OR_RETURN(const AddressList addresses, LookUp(peer));
  const int socket = ::socket(addresses->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return absl::UnavailableError(absl::StrCat("socket: ", std::strerror(errno)));
  const absl::Cleanup close = [socket] { ::close(socket); };
  // A datagram socket that connects chooses its route, and with it its own address.
  sockaddr_storage own = {};
  socklen_t length = sizeof own;
  if (::connect(socket, addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &length) != 0) {
    return absl::UnavailableError(absl::StrCat(peer, ": ", std::strerror(errno)));
  }
  char text[NI_MAXHOST] = {};
  const int error = ::getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text, sizeof text,
                                  nullptr, 0, NI_NUMERICHOST);
  if (error != 0) return absl::UnavailableError(absl::StrCat(peer, ": ", ::gai_strerror(error)));
  return std::string(text);
}

}  // namespace birkhoff
