// Links, groups and the council over any Wire, of memory that the host can reach inside stream
// work: the CPU's, and on a GPU groups of one rank, which move nothing.
#pragma once

#include <memory>

#include "core/plan/plan.h"
#include "worker/transport.h"
#include "worker/transport/wire.h"

namespace birkhoff {

#ifdef NDEBUG
inline constexpr bool kDebugBuild = false;
#else
inline constexpr bool kDebugBuild = true;
#endif

struct WireTransportOptions {
  int rank = 0;  // global
  // Send a MessageStamp with each message and compare it on arrival; the same on all ranks.
  bool check_stamps = kDebugBuild;
};

// A group of p members reduces B bytes by direct exchange: each member gets everybody's copy of its
// own p-th part, adds them in ascending rank order, and gives the sum to all: 2 (p-1)/p B each way,
// two exchanges.
std::unique_ptr<Transport> NewWireTransport(std::unique_ptr<Wire> wire, const Plan& plan,
                                            const WireTransportOptions& options);

}  // namespace birkhoff
