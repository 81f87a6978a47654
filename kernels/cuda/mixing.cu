// The measures of mixing on the GPU: a block for each token of the sample, then one that adds them
// in order.
#include "kernels/mixing.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cuda/device/reduce.cuh"
#include "kernels/cuda/device/scalar.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/status.h"
#include "kernels/mixing_token.h"
#include "kernels/with_streams.h"

namespace birkhoff::cuda {
namespace {

constexpr int kThreads = 128;  // of a token: each a few of its channels

// What one token of the sample gave.
struct TokenSums {
  CoefficientMeasures opened;
  StreamMeasures merged;
};

// A block owns a token of the sample.  grid: NumMixingTokens; shared: 32 bytes and the products of
// its streams; X of the token is read once.
template <int N, typename T>
__global__ __launch_bounds__(kThreads) void MeasureTokensKernel(MixingArgs<T> args,
                                                                MixingRules rules, int saved,
                                                                TokenSums* found) {
  __shared__ float scratch[kThreads / kWarpSize], gram[N * N];
  const int64_t C = args.shape.channels;
  const int64_t t = int64_t{blockIdx.x} * args.shape.tokens / gridDim.x;
  if (args.prefix != nullptr) {
    float products[N * N] = {};
    for (int64_t c = threadIdx.x; c < C; c += kThreads) {
      float x[N];
#pragma unroll
      for (int j = 0; j < N; ++j) x[j] = Load(args.x[(t * N + j) * C + c]);
#pragma unroll
      for (int k = 0; k < N * N; ++k) {
        if (k / N <= k % N) products[k] = fmaf(x[k / N], x[k % N], products[k]);
      }
    }
#pragma unroll
    for (int k = 0; k < N * N; ++k) {
      if (k / N > k % N) continue;
      const float sum = BlockReduce<kThreads>(products[k], scratch, Sum());
      if (threadIdx.x == 0) gram[k] = sum;
    }
  }
  // One thread for what has been multiplied, another, of another warp, for the coefficients.
  if (threadIdx.x == 0) {
    StreamMeasures merged;
    if (args.prefix != nullptr) {
      merged = MeasureStreams<N>(args.prefix + t * N * N,
                                 [&](int i, int j) { return double(gram[i * N + j]); });
    }
    found[blockIdx.x].merged = merged;
  } else if (threadIdx.x == kWarpSize) {
    CoefficientMeasures opened;
    if (args.coefficients != nullptr) {
      opened = MeasureCoefficients<N>(rules, args.coefficients + t * (2 * N + N * N),
                                      args.logits + t * saved, args.alpha, args.bias);
    }
    found[blockIdx.x].opened = opened;
  }
}

// grid: 1; block: kMixingTokens, a token each; lane 0 adds them in order.
__global__ void AddTokensKernel(const TokenSums* found, int count, CoefficientMeasures* opened,
                                StreamMeasures* merged) {
  __shared__ __align__(8) unsigned char shared[kMixingTokens * sizeof(TokenSums)];
  TokenSums* const sums = reinterpret_cast<TokenSums*>(shared);
  if (int(threadIdx.x) < count) sums[threadIdx.x] = found[threadIdx.x];
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int k = 1; k < count; ++k) {
    Add(sums[k].opened, &sums[0].opened);
    Add(sums[k].merged, &sums[0].merged);
  }
  if (opened != nullptr) Add(sums[0].opened, opened);
  if (merged != nullptr) Add(sums[0].merged, merged);
}

}  // namespace

int64_t MixingWorkspaceBytes() { return kMixingTokens * int64_t{sizeof(TokenSums)}; }

template <typename T>
absl::Status AccumulateMixing(const MixingArgs<T>& args, StreamHandle stream) {
  RETURN_IF_ERROR(Validate(args));
  const int count = int(NumMixingTokens(args.shape.tokens));
  if (count == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers("mixing", {{"workspace", args.workspace}}));
  TokenSums* const found = static_cast<TokenSums*>(args.workspace);
  const int saved = int(LogitsPerToken(args.shape));
  WithStreams(args.shape.streams, [&](auto n) {
    if constexpr (n() >= 2) {
      MeasureTokensKernel<n(), T>
          <<<unsigned(count), kThreads, 0, stream>>>(args, MixingRulesOf(args.shape), saved, found);
    }
  });
  RETURN_IF_ERROR(LaunchStatus("mixing: MeasureTokensKernel"));
  AddTokensKernel<<<1, kMixingTokens, 0, stream>>>(
      found, count, args.coefficients != nullptr ? args.opened : nullptr,
      args.prefix != nullptr ? args.merged : nullptr);
  return LaunchStatus("mixing: AddTokensKernel");
}

template absl::Status AccumulateMixing(const MixingArgs<float>&, StreamHandle);
template absl::Status AccumulateMixing(const MixingArgs<bf16>&, StreamHandle);

}  // namespace birkhoff::cuda
