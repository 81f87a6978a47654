// Boundary forward and recompute on the CPU.  Both run the same source and the same read, so a
// recompute gives the bits of forward.
#include "kernels/boundary.h"

#include <algorithm>

#include "core/base/status_macros.h"
#include "kernels/cpu/coefficients.h"
#include "kernels/cpu/ids.h"
#include "kernels/cpu/norm_rows.h"
#include "kernels/cpu/streams.h"
#include "kernels/cpu/token_block.h"
#include "kernels/with_streams.h"

namespace birkhoff::cpu {
namespace {

template <typename T>
void EmbedToken(const BoundaryShape& shape, const BoundarySourceArgs<T>& source, int64_t t, T* x) {
  const int64_t C = shape.channels;
  const T* row = source.embedding + source.ids[t] * C;
  std::copy_n(row, C, x);
  for (int j = 1; j < shape.streams; ++j) {
    if (source.expand == StreamExpand::kCopy) {
      std::copy_n(row, C, x + j * C);
    } else {
      std::fill_n(x + j * C, C, T(0));
    }
  }
}

template <int N, typename T>
void ApplySource(const BoundaryShape& shape, const BoundarySourceArgs<T>& source, TokenBlock block,
                 T* x) {
  const int64_t C = shape.channels, width = N * C;
  if (source.kind == BoundarySource::kReceived) return;
  for (int64_t t = block.first; t < block.end; ++t) {
    if (source.kind == BoundarySource::kEmbed) {
      EmbedToken(shape, source, t, x + t * width);
    } else {
      if (N > 1 && t + 1 < shape.tokens) {
        PrefetchToRead(source.x + (t + 1) * width, width);
        PrefetchToWrite(x + (t + 1) * width, width);
      }
      const TokenCoefficients<N, T> h(CoefficientsOf(shape, source.coefficients, t));
      MergeToken(h, source.x + t * width, source.y + t * C, C, x + t * width);
    }
  }
}

template <int N, typename T>
void ApplyPrefix(const BoundaryForwardArgs<T>& args, TokenBlock block) {
  constexpr int kEntries = N * N;
  if (args.prefix == nullptr || args.source.kind == BoundarySource::kReceived) return;
  for (int64_t t = block.first; t < block.end; ++t) {
    T* prefix = args.prefix + t * kEntries;
    if (args.source.kind == BoundarySource::kEmbed) {
      for (int k = 0; k < kEntries; ++k) prefix[k] = k / N == k % N ? T(1) : T(0);
    } else {
      const T* h = CoefficientsOf(args.shape, args.source.coefficients, t) + 2 * N;
      MultiplyMatrices<N>(h, args.prefix_below + t * kEntries, prefix);
    }
  }
}

// The input of the norm: u, or the contracted streams.
template <int N, typename T>
void ReadForSink(const BoundaryShape& shape, BoundarySink sink, StreamContract contract,
                 const T* coefficients, int64_t t, const T* x, T* out) {
  const T* token = x + t * N * shape.channels;
  if (sink == BoundarySink::kHead) {
    T weight[N];
    std::fill_n(weight, N, contract == StreamContract::kMean ? T(1) / T(N) : T(1));
    ReadToken<N>(weight, token, shape.channels, out);
  } else {
    ReadToken<N>(CoefficientsOf(shape, coefficients, t), token, shape.channels, out);
  }
}

template <int N, typename T>
void ApplySink(const BoundaryForwardArgs<T>& args, TokenBlock block) {
  const BoundaryShape& shape = args.shape;
  if (args.sink == BoundarySink::kNone) return;
  if (args.sink == BoundarySink::kSubLayer) {
    FormCoefficients(shape, args.parameters, block.size(),
                     args.x + block.first * N * shape.channels,
                     args.logits + block.first * LogitsPerToken(shape),
                     args.coefficients + block.first * CoefficientsPerToken(shape));
  }
  for (int64_t t = block.first; t < block.end; ++t) {
    T* out = args.norm_out + t * shape.channels;
    ReadForSink<N>(shape, args.sink, args.contract, args.coefficients, t, args.x, out);
    if (args.sink == BoundarySink::kHead) {
      std::copy_n(out, shape.channels, args.contracted + t * shape.channels);
    }
    args.norm_inv_rms[t] = InverseRms(out, shape.channels, shape.norm_eps);
    NormRow(args.parameters.gamma, args.norm_inv_rms[t], shape.channels, out);
  }
}

template <int N, typename T>
void RecomputeSink(const BoundaryRecomputeArgs<T>& args, TokenBlock block) {
  const int64_t C = args.shape.channels;
  if (args.sink == BoundarySink::kNone || args.norm_out == nullptr) return;
  for (int64_t t = block.first; t < block.end; ++t) {
    T* out = args.norm_out + t * C;
    ReadForSink<N>(args.shape, args.sink, args.contract, args.coefficients, t, args.x, out);
    NormRow(args.gamma, args.norm_inv_rms[t], C, out);
  }
}

}  // namespace

template <typename T>
absl::Status BoundaryForward(const BoundaryForwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.source.kind == BoundarySource::kEmbed) {
    RETURN_IF_ERROR(
        CheckIds("boundary forward", args.source.ids, args.shape.tokens, args.source.vocabulary));
  }
  WithStreams(args.shape.streams, [&](auto n) {
    ForBlocks<T>(args.shape.tokens, [&](TokenBlock block) {
      ApplyPrefix<n()>(args, block);
      ApplySource<n()>(args.shape, args.source, block, args.x);
      ApplySink<n()>(args, block);
    });
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.source.kind == BoundarySource::kEmbed) {
    RETURN_IF_ERROR(
        CheckIds("boundary recompute", args.source.ids, args.shape.tokens, args.source.vocabulary));
  }
  WithStreams(args.shape.streams, [&](auto n) {
    ForBlocks<T>(args.shape.tokens, [&](TokenBlock block) {
      ApplySource<n()>(args.shape, args.source, block, args.x);
      RecomputeSink<n()>(args, block);
    });
  });
  return absl::OkStatus();
}

template absl::Status BoundaryForward(const BoundaryForwardArgs<float>&);
template absl::Status BoundaryForward(const BoundaryForwardArgs<double>&);
template absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<float>&);
template absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<double>&);

}  // namespace birkhoff::cpu
