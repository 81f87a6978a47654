// The warp of a single-pass kernel that brings the coefficients of the merge, adds up what the
// block's other warps have left, in their order, and sends each token's sums to the block of the
// cluster that owns the token.
#pragma once

#include "kernels/cuda/device/hopper.cuh"

namespace birkhoff::cuda {

// Of a tile's tokens from `first` on: floats k .. k + kCount of each, `stride` apart in memory and
// `pitch` in shared memory, by copies of 16 bytes at n = 4, else of single numbers.  Null: the ones
// of a plain residual.
struct TokenFloats {
  const float* from = nullptr;
  int stride = 0, k = 0;
  int64_t first = 0, tokens = 0;
};
template <int N, int kCount>
__device__ inline void CopyTokens(const TokenFloats& of, int tile_tokens, int pitch, float* to) {
  constexpr int kPiece = N == 4 ? 4 : 1, kPieces = kCount / kPiece;
#pragma unroll 1
  for (int i = int(threadIdx.x) % 32; i < tile_tokens * kPieces; i += 32) {
    const int64_t token = of.first + i / kPieces;
    const int piece = i % kPieces * kPiece;
    float* at = to + i / kPieces * pitch + piece;
    const bool there = token < of.tokens;
    const float* from = of.from + (there ? token * of.stride + of.k + piece : 0);
    if constexpr (N == 4) {
      CopyAsync16(at, from, there);
    } else if (of.from == nullptr) {
      *at = there ? 1.0f : 0.0f;
    } else {
      CopyAsync4(at, from, there);
    }
  }
}

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

template <int kCount>
__device__ inline float4 AddFours(const float* from, int stride) {
  float4 sum = *reinterpret_cast<const float4*>(from);
#pragma unroll
  for (int k = 1; k < kCount; ++k) {
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
