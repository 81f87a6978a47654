// Client channels to a coordinator, with the keepalive that its server allows.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
}

namespace birkhoff {

// Never fails; connects when it is first used.  `address` is "host:port" or "unix:/path".
std::shared_ptr<grpc::Channel> NewChannel(const std::string& address);

// Waits until the channel is connected.  UNAVAILABLE names the address and how to start a
// coordinator there.
absl::Status WaitForChannel(grpc::Channel& channel, const std::string& address,
                            absl::Duration timeout);

// What a server may listen on: HOST:PORT with a port of 0 to 65535, [IPV6]:PORT, or unix:PATH.
// INVALID_ARGUMENT names `flag`.
absl::Status CheckListenAddress(const char* flag, const std::string& address);

// Whether an address reaches this machine only; plaintext elsewhere needs the user's word.
bool IsLoopback(const std::string& address);

// What may listen without encryption: on loopback anybody, elsewhere who is allowed.
// INVALID_ARGUMENT begins with `what`, a subject with its verb: "metrics on 0.0.0.0:9464 are".
absl::Status CheckPlaintext(const std::string& what, const std::string& address, bool allowed);

}  // namespace birkhoff
