// From a run-time mapping to the policy that kernels take as a template argument, and the launch
// that kernels with a mapping in them share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/device/mappings.cuh"
#include "kernels/mapping.h"
#include "kernels/with_streams.h"

namespace birkhoff::cuda {

// Calls work(n, policy) with the policy of a valid shape.
template <typename Work>
void WithMapping(const MixShape& shape, Work&& work) {
  WithStreams(shape.streams, [&](auto n) {
    WithMappingType(shape.mapping, [&](auto mapping) {
      using Of = decltype(mapping);
      if constexpr (n() <= TraitsOf(Of::kKind).most_streams) {
        work(n, LaneMapping<n(), Of::kKind, typename Of::Type>());
      }
    });
  });
}

constexpr int kMappingThreads = 256;
constexpr int64_t kMaxHistoryBytes = 48 * 1024;  // what a kernel gets without asking

// Tokens of a block: 64 at n = 4.
__host__ __device__ constexpr int MappingTokens(int streams) {
  return kMappingThreads / GroupLanes(streams);
}
inline unsigned MappingBlocks(int streams, int64_t tokens) {
  const int each = MappingTokens(streams);
  return unsigned((tokens + each - 1) / each);
}
template <int N>
__host__ __device__ inline int64_t MappingToken(unsigned block, unsigned thread) {
  return int64_t{block} * MappingTokens(N) + thread / GroupLanes(N);
}

// Iterations whose row scalings a block keeps in shared memory, a double a thread: up to 24.
template <typename Mapping>
int HistorySlots(const MixShape& shape) {
  if (!Mapping::kKeepsHistory) return 0;
  constexpr int64_t kSlotBytes = int64_t{kMappingThreads} * int64_t{sizeof(double)};
  return int(std::min<int64_t>(shape.sinkhorn_iterations, kMaxHistoryBytes / kSlotBytes));
}
inline size_t HistoryBytes(int slots) { return size_t(slots) * kMappingThreads * sizeof(double); }

}  // namespace birkhoff::cuda
