// One element in memory, a float in registers.
#pragma once

#include <cuda_bf16.h>

#include "kernels/types.h"

namespace birkhoff::cuda {

__device__ inline float Load(float value) { return value; }
__device__ inline float Load(bf16 value) { return __uint_as_float(unsigned{value.bits} << 16); }

// Rounded to nearest even.
template <typename T>
__device__ inline T Store(float value);
template <>
__device__ inline float Store<float>(float value) {
  return value;
}
template <>
__device__ inline bf16 Store<bf16>(float value) {
  return bf16{__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}

// 16 bytes of T, moved as one.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kSize = 16 / int{sizeof(T)};
  T at[kSize];
};

}  // namespace birkhoff::cuda
