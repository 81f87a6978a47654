// Transport between processes over TCP, by Gloo's unbound buffers.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/transport.h"
#include "worker/transport/wire_transport.h"

namespace birkhoff {

struct GlooOptions {
  WireTransportOptions transport;
  int world_size = 1;
  std::string address = "127.0.0.1";  // of this machine, as peers reach it; without a port
  // No operation waits longer, and none should wait as long.  A peer that lives and does not move
  // is for the coordinator to find (ProgressWatch), which knows what all ranks are at.
  absl::Duration timeout = absl::Hours(24);
};

// Joins the full mesh of the attempt: by Meets under keys that begin with "gloo/".  `rendezvous` is
// not used afterwards.  Errors: UNAVAILABLE the address cannot be bound, or a peer cannot be
// reached; DEADLINE_EXCEEDED a peer has not answered in time; what `rendezvous` says.
//
// Makes the process ignore SIGPIPE: a peer that has died is an error here and not the end of us.
//
// The destructor of a healthy transport waits until all peers are done too, or have gone, so that
// nobody loses the last messages; that of one with an error does not wait.
absl::StatusOr<std::unique_ptr<Transport>> ConnectGloo(const Plan& plan, Rendezvous& rendezvous,
                                                       const GlooOptions& options);

}  // namespace birkhoff
