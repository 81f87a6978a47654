// The parts that the boundary's launchers put together, and the sizes they agree on.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/rounding.h"
#include "kernels/boundary.h"
#include "kernels/cuda/boundary_config.h"
#include "kernels/cuda/ops.h"

namespace birkhoff::cuda {

// Whether rows of `channels` may be moved 16 bytes at a time.
inline bool MovesPacks(int64_t channels, std::initializer_list<const void*> pointers) {
  uintptr_t bits = uintptr_t(channels % 8 == 0 ? 0 : 1);
  for (const void* pointer : pointers) bits |= reinterpret_cast<uintptr_t>(pointer) & 15;
  return bits == 0;
}

// Threads of a block that owns a token, `lanes` channels a thread and turn: as few turns as `most`
// threads need, then as few threads as those turns need.
inline int TokenThreads(int64_t channels, int lanes, int most) {
  const int64_t units = CeilDivide(channels, lanes);
  const int64_t turns = CeilDivide(units, most);
  return int(RoundUp(CeilDivide(units, turns), 32));
}

// ---- sizes of the backward pass

// Channels of a block of the combining kernel: with its streams, 64 to 256 threads.
constexpr int CombineChannels(int streams) { return streams <= 4 ? 64 : 32; }
// Tokens that it handles between two barriers.
constexpr int kCombineTokens = 8;

// How the tokens are cut into chunks, each summed by one block per tile of channels.
struct TokenChunks {
  int64_t tokens = 0;  // of one chunk
  int64_t count = 0;
};

// About kBlocks blocks in all, so that a GPU of 132 multiprocessors is filled a few times over, but
// no chunk so short that its partial sums outweigh what it reads.
inline TokenChunks ChunksOf(const BoundaryShape& shape) {
  constexpr int64_t kBlocks = 1024, kFewestTokens = 128;
  const int64_t width = CombineChannels(shape.streams);
  const int64_t tiles = CeilDivide(shape.channels, width);
  const int64_t most = std::max<int64_t>(1, kBlocks / tiles);
  const int64_t wanted =
      std::max<int64_t>(1, std::min(most, CeilDivide(shape.tokens, kFewestTokens)));
  const int64_t each = CeilDivide(shape.tokens, wanted);
  const int64_t tokens = std::max<int64_t>(kCombineTokens, RoundUp(each, kCombineTokens));
  return {tokens, CeilDivide(shape.tokens, tokens)};
}

// Columns of the gradient of the raw products (v phi, or x_j theta^T) per token, all streams.
inline int64_t ProductsPerToken(const BoundaryShape& shape) {
  if (shape.kind == BoundaryKind::kHc) return shape.streams * (shape.streams + 2);
  return DynamicColumns(shape);
}

// The caller's workspace, cut up.
struct BoundaryWorkspace {
  float* dcoefficients = nullptr;  // [tokens, 2n + n^2]
  float* mean = nullptr;           // [tokens]: mean over C of gamma dnorm u / rms
  float* dproducts = nullptr;      // [tokens, ProductsPerToken]; kHc [tokens, n, 2 + n]
  float* norm = nullptr;           // [tokens, n]: dx_j gets -norm[j] x_j, the path through r
  float* sums = nullptr;           // [blocks, 3 + bias]: gradients of alpha, bias
  float* projection = nullptr;     // [chunks, ProjectionElements]
  float* gamma = nullptr;          // [chunks, C]; of a plain residual [kPlainBlocks, C]
  int32_t* next = nullptr;         // [tokens]: the next token of the same id, or -1
  int32_t* later = nullptr;        // [tokens]: 1 where an earlier token has the same id
  int64_t bytes = 0;               // of them all

  // Of the single pass, over dcoefficients and what follows, which it does without: Sinkhorn's
  // basis [tokens, n - 1, n, n].
  float* basis() const { return dcoefficients; }
};
// Blocks of a plain residual's backward pass, each with a row of `gamma`: two for each of a Hopper
// GPU's 132 multiprocessors.
constexpr int64_t kPlainBlocks = 264;
// Blocks of a single pass that may each have a row of `sums`.
constexpr int64_t kMostClusterBlocks = 16;
BoundaryWorkspace CutWorkspace(const BoundaryShape& shape, void* workspace);

// ---- parts; arguments were validated, tokens > 0

// The source, and in the same pass v phi / r (or its like of kHc) of the new X into args.logits.
template <typename T>
absl::Status ProjectForward(const BoundaryForwardArgs<T>& args, StreamHandle stream);

// logits -> coefficients.
absl::Status FormCoefficients(const BoundaryShape& shape,
                              const BoundaryParameters<float>& parameters, const float* logits,
                              float* coefficients, StreamHandle stream);

// work.dcoefficients -> work.dproducts, work.norm; adds to the gradients of alpha and bias.
absl::Status BackCoefficients(const BoundaryShape& shape,
                              const BoundaryParameters<float>& parameters,
                              const BoundaryGradients<float>& gradients, const float* coefficients,
                              const float* logits, bool equal_streams,
                              const BoundaryWorkspace& work, StreamHandle stream);

// All of a plain residual's backward pass below a sub-layer.
template <typename T>
absl::Status PlainBackward(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                           StreamHandle stream);

// dX (and dy_below of a merge) from work.mean, work.dproducts and work.norm; adds to the gradients
// of projection and gamma.
template <typename T>
absl::Status CombineGradients(const BoundaryBackwardArgs<T>& args, const BoundaryWorkspace& work,
                              StreamHandle stream);

// One n x n matrix a token, tokens `stride` apart; none: the identity.
struct TokenMatrices {
  const float* first = nullptr;
  int64_t stride = 0;
};
// H_res of saved coefficients; the identity of a plain residual, which has none.
inline TokenMatrices ResidualMatrices(const BoundaryShape& shape, const float* coefficients) {
  if (shape.kind == BoundaryKind::kResidual) return {};
  return {coefficients + 2 * shape.streams, CoefficientsPerToken(shape)};
}
// out = left right; out [tokens, n, n] may be either side.
absl::Status MultiplyMatrices(const BoundaryShape& shape, TokenMatrices left, TokenMatrices right,
                              float* out, StreamHandle stream);

// sums[i] += partials[0][i] + partials[1][i] + ... , in this order.
absl::Status AddPartials(const float* partials, int64_t count, int64_t elements, float* sums,
                         StreamHandle stream);

// ---- the single pass (single_pass.h); false: the GPU has no room for it, nothing was queued

// Sink and, of a merge, source and prefix.  source.kind: kReceived or kMerge.
absl::StatusOr<bool> SinglePassForward(const BoundaryForwardArgs<bf16>& args,
                                       const BoundaryConfig& config, StreamHandle stream);
// All of a sub-layer's sink, with suffix, and dy_below of a merge.
absl::StatusOr<bool> SinglePassBackward(const BoundaryBackwardArgs<bf16>& args,
                                        const BoundaryConfig& config, const BoundaryWorkspace& work,
                                        StreamHandle stream);
// Of the GPU that is current.
absl::StatusOr<int> ComputeCapability();

// Parameters without the type of the streams.
template <typename T>
BoundaryParameters<float> FloatParameters(const BoundaryParameters<T>& from) {
  return {from.projection, from.alpha, from.bias, from.gamma};
}
template <typename T>
BoundaryGradients<float> FloatGradients(const BoundaryGradients<T>& from) {
  return {from.projection, from.alpha, from.bias, from.gamma};
}

}  // namespace birkhoff::cuda
