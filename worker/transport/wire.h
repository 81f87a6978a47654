// What tells one transport from another: how ranks swap bytes in pairs.  Links and groups are
// written once on top of it (wire_transport.cc), so that sums have the same bits everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace birkhoff {

// One message of an exchange, from this rank's side.
struct WirePiece {
  int peer = 0;       // global rank
  uint64_t slot = 0;  // messages with the same (sender, receiver, slot) meet in order
  std::byte* data = nullptr;
  int64_t bytes = 0;  // > 0, the same at both ends
};

// Thread-safe: exchanges over different slots run at the same time.
class Wire {
 public:
  virtual ~Wire() = default;
  // Posts all receives, then all sends, and blocks until every one is done.  A send is done only
  // when its receive has been posted (rendezvous).
  // Errors: UNAVAILABLE a peer has gone; DEADLINE_EXCEEDED; ABORTED this end is closed.  After an
  // error no buffer is touched any more, and some pieces may have been moved.
  virtual absl::Status Exchange(std::span<const WirePiece> receives,
                                std::span<const WirePiece> sends) = 0;
  // Wakes all exchanges of this rank and lets its peers see that it has gone.  Idempotent.
  virtual void Close() = 0;
};

}  // namespace birkhoff
