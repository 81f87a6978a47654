// The residual mapping: from K_res logits per token to the n x n matrix H_res that mixes the old
// streams into the new ones.  A policy: each mapping has its number of logits, its function and its
// vector-Jacobian product; nothing above looks inside.
//
//   kIdentity      K = 0     H = I                      (plain residual, and mhc without mixing)
//   kFree          K = n^2   H = the logits, row-major  (HC, arXiv 2409.19606)
//   kSinkhorn      K = n^2   H = Sinkhorn(logits)       (mHC, arXiv 2512.24880 eq. 8, 9)
//   kPermutations  K = n!    H = sum_k softmax(logits)_k P_k, permutations in lexicographic order,
//                            P_k[i][perm_k(i)] = 1      (mHC-lite, arXiv 2601.05732); n <= 4
//
// Sinkhorn: M = exp(logits), then `sinkhorn_iterations` times { divide the columns by their sums,
// then the rows by theirs }.  Rows come last: row sums are exact and the error of a finite number
// of iterations stands in the column sums.  No epsilon; no sum can be 0 at any finite logits.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace birkhoff {

enum class MixMapping { kIdentity, kFree, kSinkhorn, kPermutations };
const char* MixMappingName(MixMapping mapping);

inline constexpr int kMaxStreams = 8;
inline constexpr int kMaxMixLogits = kMaxStreams * kMaxStreams;  // >= 4! too

struct MixShape {
  MixMapping mapping = MixMapping::kSinkhorn;
  int streams = 4;               // n, 1..8; 1..4 for kPermutations
  int sinkhorn_iterations = 20;  // 1..1000; read by kSinkhorn alone
};

// K_res of a valid shape.
int NumMixLogits(const MixShape& shape);
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

// Scratch elements of the backward pass: the scalings of every Sinkhorn iteration.
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
