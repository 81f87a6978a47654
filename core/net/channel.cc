// One connection per channel, tried again after 0.1 to 2 seconds.  Addresses are judged by their
// text: no name is looked up.
#include "core/net/channel.h"

#include <arpa/inet.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/net/keepalive.h"

namespace birkhoff {

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Without a global pool each channel has its own connection: a cut one cuts nobody else.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(kLargestMessageBytes);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status WaitForChannel(grpc::Channel& channel, const std::string& address,
                            absl::Duration timeout) {
  if (channel.WaitForConnected(absl::ToChronoTime(absl::Now() + timeout))) return absl::OkStatus();
  const bool can_listen = CheckListenAddress("", address).ok();
  return absl::UnavailableError(
      absl::StrCat("no coordinator answers at ", address,
                   can_listen ? absl::StrCat("; start one with: birkhoffd --listen ", address)
                              : "; need HOST:PORT, as in 127.0.0.1:7443"));
}

absl::Status CheckListenAddress(const char* flag, const std::string& address) {
  if (absl::StartsWith(address, "unix:")) return absl::OkStatus();
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  const bool bare_v6 = host.find(':') != std::string::npos && host.back() != ']';
  int port = -1;
  const bool number =
      colon != std::string::npos && absl::SimpleAtoi(address.substr(colon + 1), &port);
  if (number && port >= 0 && port <= 65535 && !host.empty() && !bare_v6) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": '", address,
                   "' is not allowed; need HOST:PORT with a port from 0 to 65535 (0: any)"));
}

bool IsLoopback(const std::string& address) {
  for (const char* prefix : {"localhost:", "[::1]:", "unix:"}) {
    if (absl::StartsWith(address, prefix)) return true;
  }
  in_addr v4{};  // 127.example.com is a name like any other
  const std::string host = address.substr(0, address.rfind(':'));
  return ::inet_pton(AF_INET, host.c_str(), &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

absl::Status CheckPlaintext(const std::string& what, const std::string& address, bool allowed) {
  if (allowed || IsLoopback(address)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what,
                   " open to other machines without encryption; need a loopback address, or "
                   "--allow-plaintext"));
}

}  // namespace birkhoff
