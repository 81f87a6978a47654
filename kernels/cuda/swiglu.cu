// SwiGLU on the GPU, element by element.
#include <algorithm>
#include <initializer_list>

#include "core/base/status_macros.h"
#include "kernels/cuda/device/group.cuh"
#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 256;          // x 8 elements of bf16: 2048 features, 2 to 8 blocks a row
constexpr int64_t kMaxRows = 1 << 30;  // beyond it a block walks on, as beyond kMaxSlices
constexpr int64_t kMaxSlices = 65535;

template <typename T, int K>
__device__ void StoreGroup(T* values, int64_t i, const float (&from)[K]) {
  Group<T, K> out;
  for (int k = 0; k < K; ++k) out.at[k] = Store<T>(from[k]);
  GroupAt<K>(values, i) = out;
}

// expf(-x) may be infinite, never NaN; the division is good to 2 ulp.
__device__ float Sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }

// Of both passes: the backward one gives the forward's bits.
__device__ float Activate(float gate, float sigmoid, float up) { return gate * sigmoid * up; }

// visit(token, f) for the block's share: kThreads groups of K features from f on, of one row.
template <int K, typename Visit>
__device__ void ForGroups(int64_t tokens, int64_t features, Visit visit) {
  for (int64_t token = blockIdx.x; token < tokens; token += gridDim.x) {
    for (int64_t slice = blockIdx.y; slice * kThreads < features / K; slice += gridDim.y) {
      const int64_t group = slice * kThreads + threadIdx.x;
      if (group < features / K) visit(token, group * K);
    }
  }
}

// A thread owns K features of one token, 16 bytes of them or one.  grid: rows x slices of a row;
// block: kThreads; reads gate and up once, writes act once.
template <typename T, int K>
__global__ __launch_bounds__(kThreads) void SwiGluForwardKernel(SwiGluForwardArgs<T> args) {
  ForGroups<K>(args.tokens, args.features, [&](int64_t token, int64_t f) {
    const T* row = args.gate_up + token * 2 * args.features;
    const Group<T, K> gate = GroupAt<K>(row, f);
    const Group<T, K> up = GroupAt<K>(row + args.features, f);
    float act[K];
    for (int k = 0; k < K; ++k) {
      const float g = Load(gate.at[k]);
      act[k] = Activate(g, Sigmoid(g), Load(up.at[k]));
    }
    StoreGroup(args.act + token * args.features, f, act);
  });
}

// A thread owns K features of one token (16 bytes of them or one), and writes only where it has
// read, so dgate_up may be gate_up, and act dact.  grid: rows x slices of a row; block: kThreads;
// reads gate, up and dact once, writes dgate, dup and, where it is wanted, act once.
template <typename T, int K>
__global__ __launch_bounds__(kThreads) void SwiGluBackwardKernel(SwiGluBackwardArgs<T> args) {
  ForGroups<K>(args.tokens, args.features, [&](int64_t token, int64_t f) {
    const int64_t row = token * 2 * args.features;
    const Group<T, K> gate = GroupAt<K>(args.gate_up + row, f);
    const Group<T, K> up = GroupAt<K>(args.gate_up + row + args.features, f);
    const Group<T, K> above = GroupAt<K>(args.dact + token * args.features, f);
    float dgate[K], dup[K], act[K];
    for (int k = 0; k < K; ++k) {
      const float g = Load(gate.at[k]), u = Load(up.at[k]), sigmoid = Sigmoid(g);
      const float dact = Load(above.at[k]);
      // silu'(g) = sigmoid (1 + g (1 - sigmoid))
      dgate[k] = dact * u * sigmoid * (1.0f + g * (1.0f - sigmoid));
      dup[k] = dact * g * sigmoid;
      act[k] = Activate(g, sigmoid, u);
    }
    StoreGroup(args.dgate_up + row, f, dgate);
    StoreGroup(args.dgate_up + row + args.features, f, dup);
    if (args.act != nullptr) StoreGroup(args.act + token * args.features, f, act);
  });
}

dim3 GridOf(int64_t tokens, int64_t groups) {
  const int64_t slices = (groups + kThreads - 1) / kThreads;
  return dim3(unsigned(std::min(tokens, kMaxRows)), unsigned(std::min(slices, kMaxSlices)));
}

// Whether rows of `features` elements at these addresses can be moved 16 bytes at a time.
bool MovesInPacks(int64_t features, int pack, std::initializer_list<const void*> rows) {
  return features % pack == 0 && std::all_of(rows.begin(), rows.end(), IsAligned);
}

}  // namespace

template <typename T>
absl::Status SwiGluForward(const SwiGluForwardArgs<T>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  constexpr int kPack = Pack<T>::kSize;
  if (MovesInPacks(args.features, kPack, {args.gate_up, args.act})) {
    const dim3 grid = GridOf(args.tokens, args.features / kPack);
    SwiGluForwardKernel<T, kPack><<<grid, kThreads, 0, stream>>>(args);
  } else {
    SwiGluForwardKernel<T, 1><<<GridOf(args.tokens, args.features), kThreads, 0, stream>>>(args);
  }
  return LaunchStatus("swiglu forward: SwiGluForwardKernel");
}

template <typename T>
absl::Status SwiGluBackward(const SwiGluBackwardArgs<T>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  constexpr int kPack = Pack<T>::kSize;
  if (MovesInPacks(args.features, kPack, {args.gate_up, args.dact, args.dgate_up, args.act})) {
    const dim3 grid = GridOf(args.tokens, args.features / kPack);
    SwiGluBackwardKernel<T, kPack><<<grid, kThreads, 0, stream>>>(args);
  } else {
    SwiGluBackwardKernel<T, 1><<<GridOf(args.tokens, args.features), kThreads, 0, stream>>>(args);
  }
  return LaunchStatus("swiglu backward: SwiGluBackwardKernel");
}

template absl::Status SwiGluForward(const SwiGluForwardArgs<float>&, StreamHandle);
template absl::Status SwiGluForward(const SwiGluForwardArgs<bf16>&, StreamHandle);
template absl::Status SwiGluBackward(const SwiGluBackwardArgs<float>&, StreamHandle);
template absl::Status SwiGluBackward(const SwiGluBackwardArgs<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
