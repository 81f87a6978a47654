// Amax gains of per-token matrices: how much a mixing matrix, or a product of them, can amplify.
//
//   forward gain of M  = max over rows i of    |sum_j M[i][j]|
//   backward gain of M = max over columns j of |sum_i M[i][j]|     (absolute value after the sum)
// Source: arXiv 2512.24880 section 3.1; DESIGN section 5.
#pragma once

#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

struct GainSums {        // added to, token after token, in double
  double forward = 0.0;  // sum over tokens of the forward gain
  double backward = 0.0;
  double row_sum_min = std::numeric_limits<double>::infinity();     // of any row of any token
  double column_sum_min = std::numeric_limits<double>::infinity();  // signed: no absolute value
};

template <typename T>
struct GainArgs {
  int streams = 4;  // n, 1..8
  int64_t tokens = 0;
  // [tokens, n, n] row-major, tokens `stride` elements apart: H_res inside the coefficients (offset
  // 2n), P or S.
  const ScalarOf<T>* matrices = nullptr;
  int64_t stride = 0;         // >= n^2
  GainSums* sums = nullptr;   // in the backend's memory, as the next
  double* matrix = nullptr;   // [n, n] sum over tokens of M (+=); null: not wanted
  void* workspace = nullptr;  // as many bytes as the backend says
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const GainArgs<T>& args);

// A NaN in a matrix makes the sums NaN and leaves the minima.  Tokens are added in a fixed order.
// Errors: INVALID_ARGUMENT a rule above is broken; nothing was added.  T: float, double.
namespace cpu {
template <typename T>
absl::Status AccumulateGain(const GainArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
