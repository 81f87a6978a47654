// A float as two bf16, 16 bits and more, as operands of the tensor cores have it.
#pragma once

#include "kernels/cuda/device/hopper.cuh"

namespace birkhoff::cuda {

// What bf16 leaves of a value.
__device__ inline float Rest(float value) { return value - LowBf16(PackBf16(value, 0.0f)); }
// A value as bf16 in one half of a word, zero in the other.
__device__ inline uint32_t InHalf(float value, int half) {
  return PackBf16(value, 0.0f) << (16 * half);
}

}  // namespace birkhoff::cuda
