// How a sub-layer mixes its streams, measured on a sample of the tokens: what stands beside the
// gains (gain.h) in docs/metrics.md.  Per token, n streams:
//
//   saturation        largest softmax weight of the arguments of H_res: of each row of n^2 of them,
//                     then the mean over rows; of all n! of them.  1/n or 1/n! to 1; NaN where the
//                     mapping forms no softmax
//   off_diagonal      mean over rows i of sum_{j != i} |H_res[i][j]|
//   column_residual   largest |sum_i H_res[i][j] - 1| over columns j
//   read, write       share of the streams whose H_pre (H_post) lies within a hundredth of its range
//                     of an end of it; NaN where its gate has no ends
//   from_identity     |P - I|_F / sqrt(n - 1), P the product H_l ... H_0
//   from_uniform      |P - J|_F / sqrt(n - 1), J of 1/n everywhere; |I - J|_F is sqrt(n - 1)
//   similarity        mean over pairs i < j of the cosine of the streams x_i, x_j; 1: they have
//                     collapsed into one.  A stream of zeros is like no other: 0
//
// The first five belong to the sub-layer that a boundary opens, the others to the one that it
// merges.  Of a micro-batch kMixingTokens tokens are looked at, evenly spaced, so the cost does not
// grow with it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "kernels/boundary.h"
#include "kernels/types.h"

namespace birkhoff {

inline constexpr int kMixingTokens = 8;

struct CoefficientMeasures {  // added to, token after token
  double tokens = 0.0;
  double saturation = 0.0, off_diagonal = 0.0, column_residual = 0.0, read = 0.0, write = 0.0;
};
struct StreamMeasures {
  double tokens = 0.0;
  double from_identity = 0.0, from_uniform = 0.0, similarity = 0.0;
};

template <typename T>
struct MixingArgs {
  using S = ScalarOf<T>;
  BoundaryShape shape = {};               // kHc or kMhc, n >= 2
  const S* coefficients = nullptr;        // [tokens, 2n + n^2]; null: no sub-layer opens here
  const S* logits = nullptr;              // with coefficients, as the boundary saved them; kMhc
  const S* alpha = nullptr;               // [3], or null where D = 0; kMhc
  const S* bias = nullptr;                // [2n + K_res]; kMhc
  const S* prefix = nullptr;              // [tokens, n, n] P; null: none was merged here
  const T* x = nullptr;                   // [tokens, n, C], with prefix
  CoefficientMeasures* opened = nullptr;  // in the backend's memory; with coefficients
  StreamMeasures* merged = nullptr;       // the same, with prefix
  void* workspace = nullptr;              // as many bytes as the backend says
};

// The k-th token that is looked at, and how many there are.
inline int64_t NumMixingTokens(int64_t tokens) { return std::min<int64_t>(tokens, kMixingTokens); }
inline int64_t MixingToken(int64_t k, int64_t tokens) {
  return k * tokens / NumMixingTokens(tokens);
}

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const MixingArgs<T>& args);

// Tokens are added in a fixed order.  A NaN stays.
// Errors: INVALID_ARGUMENT a rule above is broken; nothing was added.  T: float, double.
namespace cpu {
template <typename T>
absl::Status AccumulateMixing(const MixingArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
