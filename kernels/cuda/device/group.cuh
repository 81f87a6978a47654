// K neighbours in memory that move as one, and whether an address allows it.
#pragma once

#include <cstdint>

namespace birkhoff::cuda {

template <typename T, int K>
struct alignas(K * sizeof(T)) Group {
  T at[K];
};

// Elements i to i + K - 1; i is a multiple of K and `values` aligned as the group is.
template <int K, typename T>
__device__ inline Group<T, K>& GroupAt(T* values, int64_t i) {
  return *reinterpret_cast<Group<T, K>*>(values + i);
}
template <int K, typename T>
__device__ inline const Group<T, K>& GroupAt(const T* values, int64_t i) {
  return *reinterpret_cast<const Group<T, K>*>(values + i);
}

// To 16 bytes; null is.
__host__ __device__ inline bool IsAligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace birkhoff::cuda
