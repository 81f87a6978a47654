// The gates of one number: used by every kernel that makes coefficients, so that all make the same
// bits; and the powers of two that bring numbers into fp16's range.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/base/mapping.h"
#include "kernels/cuda/device/hopper.cuh"

namespace birkhoff::cuda {

// exp(-x) may be infinite; no overflow turns into NaN.
__device__ inline float Sigmoid(float x) { return __fdiv_rn(1.0f, 1.0f + expf(-x)); }

__device__ inline float MhcPre(float alpha, float p, float bias) {
  return Sigmoid(fmaf(alpha, p, bias));
}
__device__ inline float HcGate(float alpha, float dot, float bias) {
  return fmaf(alpha, tanhf(dot), bias);
}

// Of arguments that are already formed, as their gates say (core/base/mapping.h).
template <ReadGate kGate>
__device__ inline float ReadWeight(float argument) {
  return Sigmoid(argument) + (kGate == ReadGate::kSigmoidPlusEps ? float(kDeepSeekEps) : 0.0f);
}
template <WriteGate kGate>
__device__ inline float WriteWeight(float argument) {
  return kGate == WriteGate::kScalar ? argument : 2.0f * Sigmoid(argument);
}
// Gradients of the arguments, from the weights themselves.
template <ReadGate kGate>
__device__ inline float ReadGradient(float weight, float gradient) {
  const float h = weight - (kGate == ReadGate::kSigmoidPlusEps ? float(kDeepSeekEps) : 0.0f);
  return gradient * h * (1.0f - h);
}
template <WriteGate kGate>
__device__ inline float WriteGradient(float weight, float gradient) {
  return kGate == WriteGate::kScalar ? gradient : gradient * weight * (1.0f - 0.5f * weight);
}

// A power of two s with s largest in [2^exponent, 2^(exponent + 1)), as far as s and 1 / s are
// normal floats; `largest` not negative.
__device__ inline float PowerBelow(float largest, int exponent) {
  const int have = int(FloatBits(largest) >> 23) - 127;  // -127 for 0 and what is not normal
  int want = exponent - have;
  want = want > 126 ? 126 : want < -126 ? -126 : want;
  return BitsFloat(uint32_t(want + 127) << 23);
}

// 1 / s of a power of two that PowerBelow gave.
__device__ inline float InversePower(float power) {
  return BitsFloat((254u << 23) - FloatBits(power));
}

// The largest size among `count` numbers, a multiple of 4, as far as this thread of the block
// looks; `from` is 16-byte aligned.
__device__ inline float LargestOf(const float* from, int count) {
  float largest = 0.0f;
#pragma unroll 4
  for (int i = 4 * int(threadIdx.x); i < count; i += 4 * int(blockDim.x)) {
    const float4 four = *reinterpret_cast<const float4*>(from + i);
    largest = fmaxf(fmaxf(largest, fmaxf(fabsf(four.x), fabsf(four.y))),
                    fmaxf(fabsf(four.z), fabsf(four.w)));
  }
  return largest;
}

// The power of two for the largest of all the block's values.  Scratch: one float in shared memory.
__device__ inline float BlockScale(float largest, float* scratch) {
  int* shared = reinterpret_cast<int*>(scratch);
  if (threadIdx.x == 0) *shared = 0;
  __syncthreads();
  // Floats that are not negative stand in the order of their bits.
  atomicMax(shared, int(FloatBits(largest)));
  __syncthreads();
  return PowerBelow(BitsFloat(uint32_t(*shared)), 10);
}

}  // namespace birkhoff::cuda
