// Where X of a token comes from, a few channels at a time.
#pragma once

#include "kernels/boundary.h"
#include "kernels/cuda/device/mix.cuh"

namespace birkhoff::cuda {

// X of token t, channels c and on, as it stands in memory afterwards: rounded to T.  Reads all that
// it needs before it returns, so the caller may write X over source.x.
template <int N, typename T>
__device__ inline StreamLanes<N, T> SourceStreams(const BoundarySourceArgs<T>& source, const T* x,
                                                  int64_t channels, int64_t t, int64_t c,
                                                  bool vector) {
  const int64_t token = t * N * channels, left = channels - c;
  if (source.kind == BoundarySource::kReceived) {
    return LoadStreams<N>(x + token, channels, c, vector);
  }
  if (source.kind == BoundarySource::kEmbed) {
    StreamLanes<N, T> out = {};
    out.stream[0] =
        LoadLanes(source.embedding + int64_t{source.ids[t]} * channels + c, left, vector);
#pragma unroll
    for (int j = 1; j < N; ++j) {
      if (source.expand == StreamExpand::kCopy) out.stream[j] = out.stream[0];
    }
    return out;
  }
  float post[N], res[N * N];
  const float* h = source.coefficients;
  if (h != nullptr) h += t * (2 * N + N * N) + N;
  LoadCoefficients(h, post);
  LoadCoefficients(h == nullptr ? h : h + N, res);
  const Lanes<T> y = LoadLanes(source.y + t * channels + c, left, vector);
  const StreamLanes<N, T> below = LoadStreams<N>(source.x + token, channels, c, vector);
  return RoundStreams(Merge<N, T>(post, res, below, y));
}

// What the norm of a sink reads: H_pre of a sub-layer, or the weights of the contraction.
template <int N>
__device__ inline void ReadWeights(BoundarySink sink, StreamContract contract,
                                   const float* coefficients, int64_t t, float (&weight)[N]) {
  if (sink == BoundarySink::kHead) {
#pragma unroll
    for (int j = 0; j < N; ++j) weight[j] = contract == StreamContract::kMean ? 1.0f / N : 1.0f;
    return;
  }
  LoadCoefficients(coefficients == nullptr ? nullptr : coefficients + t * (2 * N + N * N), weight);
}

}  // namespace birkhoff::cuda
