// Boundary backward on the CPU.  A block of tokens at a time, shared out: the sink's part gives dX,
// the source's part reads it.  Then what all tokens add to: the gradients of parameters and of the
// embedding, in the order of the blocks.
#include <algorithm>

#include "core/base/status_macros.h"
#include "kernels/boundary.h"
#include "kernels/cpu/coefficients.h"
#include "kernels/cpu/ids.h"
#include "kernels/cpu/norm_rows.h"
#include "kernels/cpu/streams.h"
#include "kernels/cpu/token_block.h"
#include "kernels/with_streams.h"

namespace birkhoff {
namespace cpu {
namespace {

// The caller's workspace, cut up for one block.
template <typename T>
struct Workspace {
  T* du;             // [block, C]
  T* norm;           // [block, n]
  T* dcoefficients;  // [block, 2n + n^2]
  T* mix;            // MixWorkspaceElements
};

// What the blocks leave for the end of the call.
template <typename T>
class BlockResults {
 public:
  explicit BlockResults(const BoundaryShape& shape)
      : shape_(shape), bias_(BiasElements(shape)), products_(ProductsPerToken(shape)) {
    const int64_t partials = NumPieces(shape.tokens, kBoundaryBlock) * stride();
    memory_ =
        static_cast<T*>(TaskMemory((partials + shape.tokens * products_) * int64_t{sizeof(T)}));
    dproducts_ = memory_ + partials;
  }
  // Gradients of gamma, alpha and bias by one block, set to 0.
  BoundaryGradients<T> Start(TokenBlock block) {
    T* at = memory_ + block.first / kBoundaryBlock * stride();
    std::fill_n(at, stride(), T(0));
    return {.alpha = at, .bias = at + kAlphas, .gamma = at + kAlphas + bias_};
  }
  T* dproducts(int64_t token) { return dproducts_ + token * products_; }  // [tokens, products]

  void AddTo(const BoundaryGradients<T>& gradients) const {
    for (int64_t first = 0; first < shape_.tokens; first += kBoundaryBlock) {
      const T* at = memory_ + first / kBoundaryBlock * stride();
      if (gradients.alpha != nullptr) Add(at, kAlphas, gradients.alpha);
      if (gradients.bias != nullptr) Add(at + kAlphas, bias_, gradients.bias);
      Add(at + kAlphas + bias_, shape_.channels, gradients.gamma);
    }
  }

 private:
  static constexpr int64_t kAlphas = 3;
  int64_t stride() const { return kAlphas + bias_ + shape_.channels; }
  static void Add(const T* from, int64_t count, T* to) {
    for (int64_t k = 0; k < count; ++k) to[k] += from[k];
  }

  const BoundaryShape& shape_;
  const int64_t bias_, products_;
  T* memory_;     // by block: alpha, bias, gamma
  T* dproducts_;  // behind them
};

template <typename T>
Workspace<T> CutWorkspace(const BoundaryShape& shape, T* at) {
  const auto take = [&at](int64_t elements) {
    T* const start = at;
    at += elements;
    return start;
  };
  Workspace<T> work;
  work.mix = take(MixWorkspaceElements(MixShapeOf(shape)));
  work.du = take(kBoundaryBlock * shape.channels);
  work.norm = take(kBoundaryBlock * shape.streams);
  work.dcoefficients = take(kBoundaryBlock * CoefficientsPerToken(shape));
  return work;
}

// du of every token of the block: the read once more, then back through the norm.  With it, while X
// is at hand, the gradients of the coefficients.
template <int N, typename T>
void ReadBackward(const BoundaryBackwardArgs<T>& args, TokenBlock block, const Workspace<T>& work) {
  const int64_t C = args.shape.channels, width = N * C;
  const int64_t stride = CoefficientsPerToken(args.shape);
  for (int64_t t = block.first; t < block.end; ++t) {
    const int64_t row = t - block.first;
    T* du = work.du + row * C;
    if (N > 1 && t + 1 < args.shape.tokens) {
      PrefetchToRead(args.x + (t + 1) * width, width);
      PrefetchToRead(args.dx_above + (t + 1) * width, width);
    }
    ReadToken<N>(CoefficientsOf(args.shape, args.coefficients, t), args.x + t * width, C, du);
    NormRowBackward(args.parameters.gamma, args.dnorm + t * C, args.norm_inv_rms[t], C, du,
                    args.gradients.gamma);
    if (args.shape.kind == BoundaryKind::kResidual) continue;
    CoefficientGradients<N>(args.dx_above + t * width, du, args.x + t * width, args.y + t * C, C,
                            work.dcoefficients + row * stride);
  }
}

template <int N, typename T>
void SubLayerBackward(const BoundaryBackwardArgs<T>& args, TokenBlock block, T* dproducts) {
  const int64_t C = args.shape.channels, width = N * C;
  const Workspace<T> work = CutWorkspace(
      args.shape, TaskWorkspace<T>(args.workspace, BoundaryWorkspaceElements(args.shape)));
  const bool plain = args.shape.kind == BoundaryKind::kResidual;
  // du, then the coefficients and, through r, the part of dX along X.
  ReadBackward<N>(args, block, work);
  std::fill_n(work.norm, block.size() * N, T(0));
  if (!plain) {
    CoefficientsBackward<T>(
        args.shape, args.parameters, args.gradients,
        {.tokens = block.size(),
         .coefficients = args.coefficients + block.first * CoefficientsPerToken(args.shape),
         .logits = args.logits + block.first * LogitsPerToken(args.shape),
         .dcoefficients = work.dcoefficients,
         .equal_streams = args.equal_streams,
         .dproducts = dproducts,
         .norm = work.norm,
         .workspace = work.mix});
  }
  // dX but for the projection.
  for (int64_t t = block.first; t < block.end; ++t) {
    const int64_t row = t - block.first;
    const TokenCoefficients<N, T> h(CoefficientsOf(args.shape, args.coefficients, t));
    CombineToken(h, work.norm + row * N, args.dx_above + t * width, work.du + row * C,
                 args.x + t * width, C, args.dx + t * width);
  }
  // dX += dproducts phi^T.
  if (plain) return;
  ProjectionBackwardInput(args.shape, block.size(), args.parameters.projection, dproducts,
                          args.dx + block.first * width);
}

template <int N, typename T>
void HeadBackward(const BoundaryBackwardArgs<T>& args, TokenBlock block) {
  const int64_t C = args.shape.channels;
  const T weight = args.contract == StreamContract::kMean ? T(1) / T(N) : T(1);
  for (int64_t t = block.first; t < block.end; ++t) {
    T* dx = args.dx + t * N * C;
    // Back through the norm, then to every stream by its weight.
    std::copy_n(args.contracted + t * C, C, dx);
    NormRowBackward(args.parameters.gamma, args.dnorm + t * C, args.norm_inv_rms[t], C, dx,
                    args.gradients.gamma);
    for (int64_t c = 0; c < C; ++c) dx[c] *= weight;
    for (int j = 1; j < N; ++j) std::copy_n(dx, C, dx + j * C);
  }
}

template <int N, typename T>
void ApplySuffix(const BoundaryBackwardArgs<T>& args, TokenBlock block) {
  constexpr int kEntries = N * N;
  if (args.suffix == nullptr || args.sink == BoundarySink::kNone) return;
  for (int64_t t = block.first; t < block.end; ++t) {
    T* suffix = args.suffix + t * kEntries;
    if (args.sink == BoundarySink::kHead) {
      for (int k = 0; k < kEntries; ++k) suffix[k] = k / N == k % N ? T(1) : T(0);
    } else {
      const T* h = CoefficientsOf(args.shape, args.coefficients, t) + 2 * N;
      MultiplyMatrices<N>(args.suffix_above + t * kEntries, h, suffix);
    }
  }
}

// Tokens may name the same row: a task has a slice of the channels, of all tokens.
template <int N, typename T>
void EmbedBackward(const BoundaryBackwardArgs<T>& args) {
  constexpr int64_t kSlice = 256;
  const int64_t C = args.shape.channels;
  int copies = 1;
  if (args.expand == StreamExpand::kCopy) copies = N;
  ShareOut(NumPieces(C, kSlice), [&](int64_t index) {
    const Piece slice(index, kSlice, C);
    OnBestIsa<T>([&] {
      for (int64_t t = 0; t < args.shape.tokens; ++t) {
        const T* dx = args.dx + t * N * C;
        T* row = args.dembedding + args.ids[t] * C;
        for (int64_t c = slice.first; c < slice.end; ++c) {
          T sum = dx[c];
          for (int j = 1; j < copies; ++j) sum += dx[j * C + c];
          row[c] += sum;
        }
      }
    });
  });
}

template <int N, typename T>
void SourceBackward(const BoundaryBackwardArgs<T>& args, TokenBlock block) {
  const int64_t C = args.shape.channels;
  if (args.source != BoundarySource::kMerge) return;
  for (int64_t t = block.first; t < block.end; ++t) {
    const T* post = CoefficientsOf(args.shape, args.coefficients_below, t) + N;
    ReadToken<N>(post, args.dx + t * N * C, C, args.dy_below + t * C);
  }
}

}  // namespace

int64_t BoundaryWorkspaceElements(const BoundaryShape& shape) {
  const int64_t per_token = shape.channels + shape.streams + CoefficientsPerToken(shape);
  return MixWorkspaceElements(MixShapeOf(shape)) + kBoundaryBlock * per_token;
}

template <typename T>
absl::Status BoundaryBackward(const BoundaryBackwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.source == BoundarySource::kEmbed) {
    RETURN_IF_ERROR(CheckIds("boundary backward", args.ids, args.shape.tokens, args.vocabulary));
  }
  WithStreams(args.shape.streams, [&](auto n) {
    BlockResults<T> results(args.shape);
    ForBlocks<T>(args.shape.tokens, [&](TokenBlock block) {
      BoundaryBackwardArgs<T> mine = args;
      mine.gradients = results.Start(block);
      T* dproducts = results.dproducts(block.first);
      if (args.sink == BoundarySink::kSubLayer) SubLayerBackward<n()>(mine, block, dproducts);
      if (args.sink == BoundarySink::kHead) HeadBackward<n()>(mine, block);
      ApplySuffix<n()>(mine, block);
      SourceBackward<n()>(mine, block);
    });
    if (args.sink != BoundarySink::kNone) results.AddTo(args.gradients);
    if (args.sink == BoundarySink::kSubLayer && args.shape.kind != BoundaryKind::kResidual) {
      ProjectionBackwardWeight<T>(args.shape, args.x, results.dproducts(0),
                                  args.gradients.projection);
    }
    if (args.source == BoundarySource::kEmbed) EmbedBackward<n()>(args);
  });
  return absl::OkStatus();
}

template absl::Status BoundaryBackward(const BoundaryBackwardArgs<float>&);
template absl::Status BoundaryBackward(const BoundaryBackwardArgs<double>&);

}  // namespace cpu

}  // namespace birkhoff
