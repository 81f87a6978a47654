// Rotary position embedding on the GPU: angles in double, one table row per token for all heads.
#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/cuda/device/group.cuh"
#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kTokens = 4;  // of a block: at D = 128 a thread computes one angle, for all heads
constexpr int kSlice = 64;  // channels of the lower half that a block rotates: all at D <= 128
constexpr double kTurn = 6.283185307179586476925;  // 2 pi

// Cosines and sines of a block's tokens and channels.
struct Angles {
  float cosine[kTokens][kSlice], sine[kTokens][kSlice];
};

// log2_theta: of args.theta; direction: 1 rotates, -1 rotates back.
//
// Positions reach millions of turns, so whole turns are taken off in double: what is left of the
// product is exact to 1e-10 of a turn, and float does for the rest.
template <typename T>
__device__ void FillTable(const RopeArgs<T>& args, double log2_theta, double direction,
                          int64_t first_token, int tokens, int first, int count, Angles& table) {
  const double half = double(args.head_dim / 2);
  for (int k = threadIdx.x; k < tokens * count; k += kThreads) {
    const int token = k / count, i = k % count;
    const double frequency = exp2(-log2_theta * double(first + i) / half);
    const double turns = double(args.positions[first_token + token]) * frequency / kTurn;
    float sine, cosine;
    sincospif(2.0f * float(turns - rint(turns)), &sine, &cosine);
    table.cosine[token][i] = cosine;
    table.sine[token][i] = float(direction) * sine;
  }
}

// A block owns kTokens tokens, all heads of them, and kSlice channels of each half.  grid: tokens /
// kTokens x half / kSlice; block: kThreads; shared: 2048 bytes; reads x once, writes it once.
template <typename T, int K>
__global__ __launch_bounds__(kThreads) void RopeKernel(RopeArgs<T> args, double log2_theta,
                                                       double direction) {
  __shared__ Angles table;
  const int half = args.head_dim / 2, first = int(blockIdx.y) * kSlice;
  const int count = min(kSlice, half - first);
  const int64_t first_token = int64_t{blockIdx.x} * kTokens;
  const int tokens = int(min(int64_t{kTokens}, args.tokens - first_token));
  FillTable(args, log2_theta, direction, first_token, tokens, first, count, table);
  __syncthreads();

  const int groups = count / K;
  for (int k = threadIdx.x; k < tokens * args.heads * groups; k += kThreads) {
    const int i = k % groups * K, row = k / groups;
    const int head = row % args.heads, token = row / args.heads;
    T* const at =
        args.x + (first_token + token) * args.stride + int64_t{head} * args.head_dim + first + i;
    Group<T, K>&low = GroupAt<K>(at, 0), &high = GroupAt<K>(at, half);
    Group<T, K> a = low, b = high;
    for (int j = 0; j < K; ++j) {
      const float c = table.cosine[token][i + j], s = table.sine[token][i + j];
      const float x = Load(a.at[j]), y = Load(b.at[j]);
      a.at[j] = Store<T>(x * c - y * s);
      b.at[j] = Store<T>(y * c + x * s);
    }
    low = a, high = b;
  }
}

// Whether both halves of every head of every token begin at a multiple of 16 bytes.
template <typename T>
bool MovesInPacks(const RopeArgs<T>& args) {
  constexpr int kPack = Pack<T>::kSize;
  return args.head_dim / 2 % kPack == 0 && args.stride % kPack == 0 && IsAligned(args.x);
}

template <typename T>
absl::Status Rotate(const RopeArgs<T>& args, double direction, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  const dim3 grid(unsigned((args.tokens + kTokens - 1) / kTokens),
                  unsigned((args.head_dim / 2 + kSlice - 1) / kSlice));
  const double log2_theta = std::log2(args.theta);
  if (MovesInPacks(args)) {
    RopeKernel<T, Pack<T>::kSize><<<grid, kThreads, 0, stream>>>(args, log2_theta, direction);
  } else {
    RopeKernel<T, 1><<<grid, kThreads, 0, stream>>>(args, log2_theta, direction);
  }
  return LaunchStatus("rope: RopeKernel");
}

}  // namespace

template <typename T>
absl::Status RopeForward(const RopeArgs<T>& args, StreamHandle stream) {
  return Rotate(args, 1.0, stream);
}

template <typename T>
absl::Status RopeBackward(const RopeArgs<T>& args, StreamHandle stream) {
  return Rotate(args, -1.0, stream);
}

template absl::Status RopeForward(const RopeArgs<float>&, StreamHandle);
template absl::Status RopeForward(const RopeArgs<bf16>&, StreamHandle);
template absl::Status RopeBackward(const RopeArgs<float>&, StreamHandle);
template absl::Status RopeBackward(const RopeArgs<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
