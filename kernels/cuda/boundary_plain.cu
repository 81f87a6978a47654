// The backward boundary of a plain residual in one pass over memory, 5 units of C: it reads dX', X
// and dnorm, and writes dX and dy_below, each once.
//
//   mean = (gamma dnorm) . x / (C rms)
//   dX = dX' + (gamma dnorm - x / rms mean) / rms
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "kernels/cuda/boundary_parts.h"
#include "kernels/cuda/device/mix.cuh"
#include "kernels/cuda/status.h"

namespace birkhoff::cuda {
namespace {

constexpr int kMostThreads = 512;

// This thread's channels of one token.
template <typename T, int kTurns>
struct Row {
  Pack<T> x[kTurns], dnorm[kTurns], above[kTurns];
  float inverse;
};

template <typename T, int kTurns>
__device__ inline Row<T, kTurns> LoadRow(const BoundaryBackwardArgs<T>& args, int64_t t,
                                         bool vector) {
  const int64_t C = args.shape.channels;
  Row<T, kTurns> row = {};
  if (t >= args.shape.tokens) return row;
  row.inverse = args.norm_inv_rms[t];
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int64_t c = (turn * int64_t{blockDim.x} + threadIdx.x) * kLanes<T>;
    if (c >= C) continue;
    row.x[turn] = LoadPack(args.x + t * C + c, C - c, vector);
    row.dnorm[turn] = LoadPack(args.dnorm + t * C + c, C - c, vector);
    row.above[turn] = LoadPack(args.dx_above + t * C + c, C - c, vector);
  }
  return row;
}

// A block owns every so many tokens, the next of them on its way while it works on one; a thread
// kTurns times kLanes channels, whose dgamma it adds up.  grid: rows of partials; shared: two floats
// a warp.
template <typename T, int kTurns>
__global__ __launch_bounds__(kMostThreads) void PlainBackwardKernel(BoundaryBackwardArgs<T> args,
                                                                    float* partials, bool vector) {
  __shared__ float scratch[2][kMostThreads / 32];
  const int64_t C = args.shape.channels;
  Lanes<T> gamma[kTurns] = {}, dgamma[kTurns] = {};
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int64_t c = (turn * int64_t{blockDim.x} + threadIdx.x) * kLanes<T>;
    if (c < C) gamma[turn] = LoadFloats<T>(args.parameters.gamma + c, C - c);
  }
  Row<T, kTurns> next = LoadRow<T, kTurns>(args, blockIdx.x, vector);
  int parity = 0;
  for (int64_t t = blockIdx.x; t < args.shape.tokens; t += gridDim.x, parity ^= 1) {
    const Row<T, kTurns> row = next;
    next = LoadRow<T, kTurns>(args, t + gridDim.x, vector);
    // The mean that the norm's backward pass subtracts.
    float sum[1] = {0.0f};
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const Lanes<T> x = Widen(row.x[turn]), dnorm = Widen(row.dnorm[turn]);
#pragma unroll
      for (int k = 0; k < kLanes<T>; ++k) {
        sum[0] = fmaf(gamma[turn].at[k] * dnorm.at[k], x.at[k], sum[0]);
      }
    }
    MixBlockSum(sum, scratch[parity]);
    const float mean = row.inverse * sum[0] / float(C);
    // dX, and this thread's share of dgamma.
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const Lanes<T> x = Widen(row.x[turn]), dnorm = Widen(row.dnorm[turn]);
      Lanes<T> dx = Widen(row.above[turn]);
#pragma unroll
      for (int k = 0; k < kLanes<T>; ++k) {
        const float u = x.at[k] * row.inverse;
        dgamma[turn].at[k] = fmaf(dnorm.at[k], u, dgamma[turn].at[k]);
        dx.at[k] += row.inverse * fmaf(gamma[turn].at[k], dnorm.at[k], -u * mean);
      }
      const int64_t c = (turn * int64_t{blockDim.x} + threadIdx.x) * kLanes<T>;
      if (c >= C) continue;
      const Pack<T> rounded = Round(dx);
      StorePack(rounded, C - c, vector, args.dx + t * C + c);
      if (args.source != BoundarySource::kMerge) continue;
      StorePack(rounded, C - c, vector, args.dy_below + t * C + c);
    }
  }
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int64_t c = (turn * int64_t{blockDim.x} + threadIdx.x) * kLanes<T>;
#pragma unroll
    for (int k = 0; k < kLanes<T>; ++k) {
      if (c + k < C) partials[int64_t{blockIdx.x} * C + c + k] = dgamma[turn].at[k];
    }
  }
}

}  // namespace

template <typename T>
absl::Status PlainBackward(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                           StreamHandle stream) {
  const int64_t C = args.shape.channels;
  const bool vector = MovesPacks(C, {args.dx_above, args.x, args.dnorm, args.dx, args.dy_below});
  const int threads = TokenThreads(C, kLanes<T>, kMostThreads);
  const int64_t turns = (C + threads * kLanes<T> - 1) / (threads * kLanes<T>);
  const int64_t blocks = std::min(args.shape.tokens, kPlainBlocks);
  const auto launch = [&](auto kernel) {
    kernel<<<unsigned(blocks), threads, 0, stream>>>(args, work.gamma, vector);
  };
  if (turns <= 1) {
    launch(PlainBackwardKernel<T, 1>);
  } else if (turns <= 2) {
    launch(PlainBackwardKernel<T, 2>);
  } else if (turns <= 4) {
    launch(PlainBackwardKernel<T, 4>);
  } else {
    return absl::UnimplementedError(
        absl::StrCat("boundary backward: a plain residual of C=", C,
                     " on a GPU; need C <= ", 4 * kMostThreads * kLanes<T>));
  }
  RETURN_IF_ERROR(LaunchStatus("PlainBackwardKernel"));
  return AddPartials(work.gamma, blocks, C, args.gradients.gamma, stream);
}

template absl::Status PlainBackward(const BoundaryBackwardArgs<float>&, const BoundaryWorkspace&,
                                    StreamHandle);
template absl::Status PlainBackward(const BoundaryBackwardArgs<bf16>&, const BoundaryWorkspace&,
                                    StreamHandle);

}  // namespace birkhoff::cuda
