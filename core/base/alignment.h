// The alignment of whatever is placed in memory or sent: a cache line, and a register of AVX-512.
#pragma once

#include <cstdint>

namespace birkhoff {

inline constexpr int64_t kMemoryAlignment = 64;  // bytes

// The next multiple of it; of an unsigned integer that is too large, modulo 2^64.
template <typename Integer>
constexpr Integer Aligned(Integer bytes) {
  constexpr auto kUnit = static_cast<Integer>(kMemoryAlignment);
  return (bytes + kUnit - 1) / kUnit * kUnit;
}

}  // namespace birkhoff
