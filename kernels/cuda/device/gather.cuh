// The warp of a single-pass kernel that adds up what the block's other warps have left, in their
// order, and sends each token's sums to the block of the cluster that owns the token.
#pragma once

#include "kernels/cuda/device/hopper.cuh"

namespace birkhoff::cuda {

// [warps][tokens][pitch], of which `count` floats a token; both multiples of 4.
struct WarpSums {
  const float* at = nullptr;
  int warps = 0, tokens = 0, pitch = 0, count = 0;
};

// `count` rows of four floats, `stride` floats apart, added in their order.
__device__ inline float4 AddFours(const float* from, int count, int stride) {
  float4 sum = *reinterpret_cast<const float4*>(from);
#pragma unroll 9
  for (int k = 1; k < count; ++k) {
    const float4 more = *reinterpret_cast<const float4*>(from + k * stride);
    sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
  }
  return sum;
}

// Token t's sums to `received` [blocks][owned][count] in block t / owned, as those of block `rank`.
__device__ inline void SendSums(const WarpSums& parts, float* received, int rank, int owned,
                                uint64_t* barrier) {
  const int fours = parts.count / 4;
#pragma unroll 1
  for (int i = int(threadIdx.x) % 32; i < parts.tokens * fours; i += 32) {
    const int token = i / fours, k = i % fours * 4;
    const float4 sum =
        AddFours(parts.at + token * parts.pitch + k, parts.warps, parts.tokens * parts.pitch);
    float* to = received + (rank * owned + token % owned) * parts.count + k;
    Send16(to, token / owned,
           {FloatBits(sum.x), FloatBits(sum.y), FloatBits(sum.z), FloatBits(sum.w)}, barrier);
  }
}

}  // namespace birkhoff::cuda
