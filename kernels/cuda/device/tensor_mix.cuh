// The merge X = H_res x + H_post y on the tensor cores, and what is read of X: of one warp, for a
// group of tokens and 32 channels.  Who makes an X that another kernel makes too does it by these
// functions, of the same groups: the same bits.
//
// A product takes 16 rows, the streams of a group's tokens (mixed_forward.h): H_res is a matrix of
// n x n diagonal blocks, whose token meets zeros for the others.  A coefficient is the sum of two
// bf16, 16 bits and more, so that rows of H_res still sum to 1; sums are fp32.
#pragma once

#include "kernels/cuda/device/bf16_parts.cuh"
#include "kernels/cuda/device/hopper.cuh"
#include "kernels/cuda/mixed_forward.h"

namespace birkhoff::cuda {

template <int N>
class TensorMix {
 public:
  static constexpr MixShapeOfStreams kShape{N};
  static constexpr int kGroup = kShape.group, kHalf = kShape.half;
  static constexpr int kCoefficients = N + N * N;  // of a token, as they are read: H_post, H_res

  // Operands of the products: H_res in two bf16; H_post's two against y twice, of eight rows or 16.
  static constexpr int kPostWords = kHalf == 2 ? 2 : 4;
  struct Weights {
    uint32_t high[4], low[4], post[kPostWords];
  };

  // The token of a group whose coefficients a lane has.
  __device__ static int TokenOf(int lane) { return lane / 4 % kGroup; }

  // A lane's words.  h: H_post and H_res of the lane's token; null: zeros.
  __device__ static Weights WeightsOf(int lane, const float* h) {
    const int g = lane / 4, t = lane % 4, token = TokenOf(lane);
    // Columns 2t and 2t + 1 are two tokens, of which one may be the row's.
    const bool meets = h != nullptr && token / 2 == t % (kGroup / 2);
    const int row = g / kGroup, column = 2 * t / kGroup;  // streams
    Weights weights;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const int i = row + k % 2 * kHalf, j = column + k / 2 * kHalf;
      const float value = meets && i < N && j < N ? h[N + i * N + j] : 0.0f;
      weights.high[k] = InHalf(value, token % 2);
      weights.low[k] = InHalf(Rest(value), token % 2);
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int i = row + k * kHalf;
      const float value = meets && i < N ? h[i] : 0.0f;
      if constexpr (kPostWords == 4) {
        weights.post[k] = InHalf(value, token % 2);
        weights.post[2 + k] = InHalf(Rest(value), token % 2);
      } else {  // the tokens' high ones, then their low ones
        weights.post[k] = InHalf(column == 0 ? value : Rest(value), token % 2);
      }
    }
    return weights;
  }

  // Where a lane's row lies for LoadMatrices, LoadTransposed and StoreMatrices of two octets: the
  // streams' first half of the first octet, their second half, the same of the second octet.
  struct Row {
    int stream, token, octet;
  };
  __device__ static Row RowOf(int lane) {
    return {lane / 8 % 2 * kHalf + lane % 8 / kGroup, lane % 8 % kGroup, lane / 16};
  }
  // The same for y of four octets, whose tokens fill eight rows.
  __device__ static Row RowOfY(int lane) { return {0, lane % 8 % kGroup, lane / 8}; }

  // x: octets 0 and 1, and 2 and 3, by LoadTransposed of RowOf; y by LoadTransposed of RowOfY.  X in
  // bf16, as LoadMatrices of RowOf would give it.
  __device__ static void Merge(const Weights& weights, const uint32_t (&x)[2][4],
                               const uint32_t (&y)[4], uint32_t (&out)[2][4]) {
    float sums[4][4] = {};
#pragma unroll
    for (int c = 0; c < 4; ++c) MmaBf16(sums[c], weights.high, Of(x, c, 0), Of(x, c, 1));
#pragma unroll
    for (int c = 0; c < 4; ++c) MmaBf16(sums[c], weights.low, Of(x, c, 0), Of(x, c, 1));
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if constexpr (kPostWords == 4) {
        MmaBf16(sums[c], weights.post, y[c], y[c]);
      } else {
        MmaBf16Short(sums[c], weights.post[0], weights.post[1], y[c]);
      }
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      out[c / 2][c % 2 * 2] = PackBf16(sums[c][0], sums[c][1]);
      out[c / 2][c % 2 * 2 + 1] = PackBf16(sums[c][2], sums[c][3]);
    }
    if constexpr (N == 3) {  // the fourth stays 0 beside one that is not finite
      const bool padding = ThreadIndex() % 32 / 4 >= kGroup;
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (padding) out[c / 2][c % 2 * 2 + 1] = 0;
      }
    }
  }

  // norm_out of two channels of a token: gamma u / rms, u = sum_j weight[j] x_j.  In the order of
  // device/mix.cuh's Read and Scale, as the streaming kernels make it.
  __device__ static uint32_t NormOf(const uint32_t (&x)[N], const float (&weight)[N], float inverse,
                                    float2 gamma) {
    float low = 0.0f, high = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      low = fmaf(weight[j], LowBf16(x[j]), low);
      high = fmaf(weight[j], HighBf16(x[j]), high);
    }
    return PackBf16(__fmul_rn(__fmul_rn(low, inverse), gamma.x),
                    __fmul_rn(__fmul_rn(high, inverse), gamma.y));
  }

 private:
  // Octet c, streams of the first half or the second.
  __device__ static uint32_t Of(const uint32_t (&x)[2][4], int c, int half) {
    return x[c / 2][c % 2 * 2 + half];
  }
};

}  // namespace birkhoff::cuda
