// The residual mapping: from K_res logits per token to the n x n matrix H_res that mixes the old
// streams into the new ones.  A policy: each mapping has its number of logits, its function and its
// vector-Jacobian product; nothing above looks inside.  Those that there are: core/base/mapping.h,
// a row each, and kernels/mappings, a file each.
//
// Sinkhorn: M = exp(logits), then `sinkhorn_iterations` times { divide the columns by their sums,
// then the rows by theirs }.  Rows come last: row sums are exact and the error of a finite number
// of iterations stands in the column sums.  No epsilon; no sum can be 0 at any finite logits.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "core/base/mapping.h"

namespace birkhoff {

inline constexpr int kMaxStreams = 8;
inline constexpr int kMaxMixLogits = kMaxStreams * kMaxStreams;  // >= 4! too

struct MixShape {
  MappingKind mapping = MappingKind::kSinkhorn;
  int streams = 4;               // n, from 1 to what the mapping's row allows
  int sinkhorn_iterations = 20;  // likewise; read by those that iterate
};

// K_res of a valid shape.
inline int NumMixLogits(const MixShape& shape) {
  return NumMixLogits(shape.mapping, shape.streams);
}
// INVALID_ARGUMENT naming what was given and what is needed.
absl::Status ValidateMixShape(const MixShape& shape);

template <typename T>
struct MixForwardArgs {
  MixShape shape = {};
  int64_t tokens = 0;
  const T* logits = nullptr;    // [tokens, K_res], rows `logits_stride` elements apart
  int64_t logits_stride = 0;    // >= K_res
  T* matrices = nullptr;        // [tokens, n, n] row-major, tokens `matrices_stride` apart
  int64_t matrices_stride = 0;  // >= n^2
};

template <typename T>
struct MixBackwardArgs {
  MixShape shape = {};
  int64_t tokens = 0;
  const T* logits = nullptr;     // as given to the forward pass
  int64_t logits_stride = 0;     // of logits and dlogits
  const T* dmatrices = nullptr;  // [tokens, n, n]
  int64_t dmatrices_stride = 0;
  T* dlogits = nullptr;    // [tokens, K_res], assigned; may be `logits` itself
  T* workspace = nullptr;  // MixWorkspaceElements(shape)
};

// Scratch elements of the backward pass: the scalings of every iteration.
int64_t MixWorkspaceElements(const MixShape& shape);

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const MixForwardArgs<T>& args);
template <typename T>
absl::Status Validate(const MixBackwardArgs<T>& args);

// Each token's result depends on its own logits alone, bit for bit, wherever it stands.
// Errors: INVALID_ARGUMENT a rule above is broken, nothing was written.
namespace cpu {
template <typename T>
absl::Status MixForward(const MixForwardArgs<T>& args);
template <typename T>
absl::Status MixBackward(const MixBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
