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

// Where sums of a token go: [blocks][owned][count] in the shared memory of its owner, block
// token / owned, as those of block `rank`.
struct SumsReceiver {
  float* at = nullptr;  // in this block
  int rank = 0, owned = 1;
  uint64_t* barrier = nullptr;
};

// Four sums of a token, from the k-th on.
__device__ inline void SendFour(const WarpSums& parts, int token, int k, const SumsReceiver& to) {
  const float4 sum =
      AddFours(parts.at + token * parts.pitch + k, parts.warps, parts.tokens * parts.pitch);
  Send16(to.at + (to.rank * to.owned + token % to.owned) * parts.count + k, token / to.owned,
         {FloatBits(sum.x), FloatBits(sum.y), FloatBits(sum.z), FloatBits(sum.w)}, to.barrier);
}
// All of a tile's.
__device__ inline void SendSums(const WarpSums& parts, const SumsReceiver& to) {
  const int fours = parts.count / 4;
#pragma unroll 1
  for (int i = int(threadIdx.x) % 32; i < parts.tokens * fours; i += 32) {
    SendFour(parts, i / fours, i % fours * 4, to);
  }
}

// Of all threads of a block: gamma of channels first .. first + count - 1, zeros beyond the last.
__device__ inline void LoadGamma(const float* gamma, int channels, int first, int count,
                                 float* to) {
#pragma unroll 1
  for (int i = ThreadIndex(); i < count; i += int(blockDim.x)) {
    to[i] = first + i < channels ? gamma[first + i] : 0.0f;
  }
}

}  // namespace birkhoff::cuda
