// A few channels of one token across its streams, in registers: how they are loaded, merged, read
// and stored.  Sums are chains of fmaf in a fixed order, so that every kernel that makes a value
// makes the same bits: a recompute, and a stage that begins where another one ends, depend on it.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/scalar.cuh"

namespace birkhoff::cuda {

// Channels that a thread handles at once: 16 bytes of T.
template <typename T>
inline constexpr int kLanes = Pack<T>::kSize;

template <typename T>
struct Lanes {
  float at[kLanes<T>];
};

// A row from some channel on: `left` channels to its end; `vector` says that 16 bytes may be moved
// as one, which needs left >= kLanes.
template <typename T>
__device__ inline Pack<T> LoadPack(const T* from, int64_t left, bool vector) {
  if (vector) return *reinterpret_cast<const Pack<T>*>(from);
  Pack<T> pack = {};
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) {
    if (k < left) pack.at[k] = from[k];
  }
  return pack;
}
template <typename T>
__device__ inline void StorePack(const Pack<T>& pack, int64_t left, bool vector, T* to) {
  if (vector) {
    *reinterpret_cast<Pack<T>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) {
    if (k < left) to[k] = pack.at[k];
  }
}

template <typename T>
__device__ inline Lanes<T> Widen(const Pack<T>& pack) {
  Lanes<T> lanes;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) lanes.at[k] = Load(pack.at[k]);
  return lanes;
}
template <typename T>
__device__ inline Pack<T> Round(const Lanes<T>& lanes) {
  Pack<T> pack;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) pack.at[k] = Store<T>(lanes.at[k]);
  return pack;
}

template <typename T>
__device__ inline Lanes<T> LoadLanes(const T* from, int64_t left, bool vector) {
  return Widen(LoadPack(from, left, vector));
}

// Floats beside T: gamma.
template <typename T>
__device__ inline Lanes<T> LoadFloats(const float* from, int64_t left) {
  Lanes<T> lanes;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) lanes.at[k] = k < left ? from[k] : 0.0f;
  return lanes;
}

// The same channels of all streams of a token.
template <int N, typename T>
struct StreamLanes {
  Lanes<T> stream[N];
};

// token: [n, C]; c: the first channel.
template <int N, typename T>
__device__ inline StreamLanes<N, T> LoadStreams(const T* token, int64_t channels, int64_t c,
                                                bool vector) {
  StreamLanes<N, T> lanes;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    lanes.stream[j] = LoadLanes(token + j * channels + c, channels - c, vector);
  }
  return lanes;
}

// What Load gives back for what Store<T> writes.
template <int N, typename T>
__device__ inline StreamLanes<N, T> RoundStreams(const StreamLanes<N, T>& lanes) {
  StreamLanes<N, T> rounded;
#pragma unroll
  for (int j = 0; j < N; ++j) rounded.stream[j] = Widen(Round(lanes.stream[j]));
  return rounded;
}

template <int N, typename T>
__device__ inline void StoreStreams(const StreamLanes<N, T>& lanes, int64_t channels, int64_t c,
                                    bool vector, T* token) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    StorePack(Round(lanes.stream[j]), channels - c, vector, token + j * channels + c);
  }
}

// `count` coefficients of a token; null: the ones of a plain residual.
template <int kCount>
__device__ inline void LoadCoefficients(const float* from, float (&to)[kCount]) {
#pragma unroll
  for (int k = 0; k < kCount; ++k) to[k] = from == nullptr ? 1.0f : from[k];
}

// sum_j weight[j] x_j.
template <int N, typename T>
__device__ inline Lanes<T> Read(const float (&weight)[N], const StreamLanes<N, T>& x) {
  Lanes<T> out;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) {
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < N; ++j) sum = fmaf(weight[j], x.stream[j].at[k], sum);
    out.at[k] = sum;
  }
  return out;
}

// H_res x + H_post^T y.
template <int N, typename T>
__device__ inline StreamLanes<N, T> Merge(const float (&post)[N], const float (&res)[N * N],
                                          const StreamLanes<N, T>& x, const Lanes<T>& y) {
  StreamLanes<N, T> out;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      float sum = __fmul_rn(post[i], y.at[k]);
#pragma unroll
      for (int j = 0; j < N; ++j) sum = fmaf(res[i * N + j], x.stream[j].at[k], sum);
      out.stream[i].at[k] = sum;
    }
  }
  return out;
}

// gamma row inverse, in the order of the CPU.
template <typename T>
__device__ inline Lanes<T> Scale(const Lanes<T>& row, float inverse, const Lanes<T>& gamma) {
  Lanes<T> out;
#pragma unroll
  for (int k = 0; k < kLanes<T>; ++k) {
    out.at[k] = __fmul_rn(__fmul_rn(row.at[k], inverse), gamma.at[k]);
  }
  return out;
}

// Of the warp, to all its lanes, in a fixed order.
__device__ inline float MixWarpSum(float value) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, offset);
  }
  return value;
}

// kCount sums over the block's threads, to all threads, in a fixed order.  The block is whole
// warps; scratch [warps, kCount] in shared memory is free again after the next barrier.
template <int kCount>
__device__ inline void MixBlockSum(float (&values)[kCount], float* scratch) {
  const int warp = int(threadIdx.x) / 32, warps = int(blockDim.x) / 32;
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    values[k] = MixWarpSum(values[k]);
    if (threadIdx.x % 32 == 0) scratch[warp * kCount + k] = values[k];
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    values[k] = 0.0f;
    for (int w = 0; w < warps; ++w) values[k] += scratch[w * kCount + k];
  }
}

}  // namespace birkhoff::cuda
