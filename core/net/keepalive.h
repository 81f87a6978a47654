// gRPC settings that both ends must agree on.
#pragma once

namespace birkhoff {

// Only a backstop for dead machines: workers send heartbeats of their own.  The server tolerates
// pings that are this close, or it would answer GOAWAY.
inline constexpr int kKeepaliveTimeMs = 10000;
inline constexpr int kKeepaliveTimeoutMs = 5000;
inline constexpr int kKeepaliveServerMinimumMs = 5000;

// A plan of many ranks and micro-batches is the largest message.
inline constexpr int kLargestMessageBytes = 256 << 20;

}  // namespace birkhoff
