// Reductions over a warp and over a block, in an order that depends on the block's size alone: the
// same values give the same bits.
#pragma once

namespace birkhoff::cuda {

inline constexpr int kWarpSize = 32;

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// A NaN is passed over unless it stands first, as with std::max and std::min.
struct Max {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return b > a ? b : a;
  }
};
struct Min {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

// All lanes get the result, and all must take part.
template <typename T, typename Op>
__device__ inline T WarpReduce(T value, Op op) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) {
    value = op(value, __shfl_xor_sync(0xffffffffu, value, lanes));
  }
  return value;
}

// All threads get the result, and all must take part.  `scratch` [kThreads / 32] is shared memory,
// free again on return.
template <int kThreads, typename T, typename Op>
__device__ inline T BlockReduce(T value, T* scratch, Op op) {
  constexpr int kWarps = kThreads / kWarpSize;
  static_assert(kThreads % kWarpSize == 0);
  value = WarpReduce(value, op);
  if (threadIdx.x % kWarpSize == 0) scratch[threadIdx.x / kWarpSize] = value;
  __syncthreads();
  value = scratch[0];
#pragma unroll 8
  for (int warp = 1; warp < kWarps; ++warp) value = op(value, scratch[warp]);
  __syncthreads();
  return value;
}

}  // namespace birkhoff::cuda
