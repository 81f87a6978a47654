// The residual mappings by themselves.
#include "kernels/mapping.h"

#include "core/base/status_macros.h"
#include "kernels/cuda/device/mappings.cuh"
#include "kernels/cuda/mapping_dispatch.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

// A group of lanes owns a token, a lane a row.  grid: MappingBlocks; shared: none.  Logits are read
// once, matrices written once.
template <int N, typename Mapping>
__global__ __launch_bounds__(kMappingThreads, 1) void MixForwardKernel(MixForwardArgs<float> args) {
  const RowLane<N> lane;
  const int64_t t = MappingToken<N>(blockIdx.x, threadIdx.x);
  if (t >= args.tokens) return;
  const float* logits = args.logits + t * args.logits_stride;
  float row[N];
  Mapping::Forward(
      lane, [&](int k) { return logits[k]; }, args.shape.sinkhorn_iterations, row);
  if (!lane.active()) return;
#pragma unroll
  for (int j = 0; j < N; ++j) args.matrices[t * args.matrices_stride + lane.row * N + j] = row[j];
}

// The same, backward.  shared: the history of Sinkhorn's iterations, at most 48 KB: the caller's
// workspace, one token's, would make the tokens wait for each other.
template <int N, typename Mapping>
__global__ __launch_bounds__(kMappingThreads, 1) void MixBackwardKernel(MixBackwardArgs<float> args,
                                                                        int slots) {
  extern __shared__ double history[];
  const RowLane<N> lane;
  const int64_t t = MappingToken<N>(blockIdx.x, threadIdx.x);
  if (t >= args.tokens) return;
  const float* logits = args.logits + t * args.logits_stride;
  const float* dmatrix = args.dmatrices + t * args.dmatrices_stride;
  float* dlogits = args.dlogits + t * args.logits_stride;
  Mapping::Backward(
      lane, [&](int k) { return logits[k]; }, [&](int k) { return dmatrix[k]; },
      args.shape.sinkhorn_iterations, {slots, kMappingThreads, history + threadIdx.x},
      [&](int k, float value) { dlogits[k] = value; });
}

}  // namespace

absl::Status MixForward(const MixForwardArgs<float>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  WithMapping(args.shape, [&](auto n, auto mapping) {
    MixForwardKernel<n(), decltype(mapping)>
        <<<MappingBlocks(n(), args.tokens), kMappingThreads, 0, stream>>>(args);
  });
  return LaunchStatus("MixForwardKernel");
}

absl::Status MixBackward(const MixBackwardArgs<float>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0 || NumMixLogits(args.shape) == 0) return absl::OkStatus();
  WithMapping(args.shape, [&](auto n, auto mapping) {
    const int slots = HistorySlots<decltype(mapping)>(args.shape);
    MixBackwardKernel<n(), decltype(mapping)>
        <<<MappingBlocks(n(), args.tokens), kMappingThreads, HistoryBytes(slots), stream>>>(args,
                                                                                            slots);
  });
  return LaunchStatus("MixBackwardKernel");
}

}  // namespace birkhoff::cuda
