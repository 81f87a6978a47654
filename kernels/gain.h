// Amax gains of per-token matrices: how much a mixing matrix, or a product of them, can amplify.
//
//   forward gain of M  = max over rows i of    |sum_j M[i][j]|
//   backward gain of M = max over columns j of |sum_i M[i][j]|     (absolute value after the sum)
// Source: arXiv 2512.24880 section 3.1; DESIGN section 5.
#pragma once

#include <cstdint>
#include <limits>

#include "absl/status/status.h"

namespace birkhoff {

template <typename T>
struct GainArgs {
  int streams = 4;  // n, 1..8
  int64_t tokens = 0;
  const T* matrices = nullptr;  // [tokens, n, n] row-major, tokens `stride` elements apart: H_res
                                // inside the coefficients (offset 2n), P or S
  int64_t stride = 0;           // >= n^2
};

// Added to, token after token, in double.
struct GainSums {
  double forward = 0.0;   // sum over tokens of the forward gain
  double backward = 0.0;  // sum over tokens of the backward gain
  double row_sum_min = std::numeric_limits<double>::infinity();     // of any row of any token
  double column_sum_min = std::numeric_limits<double>::infinity();  // signed: no absolute value
  double* matrix = nullptr;  // [n, n] sum over tokens of M; null: not wanted
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const GainArgs<T>& args);

// A NaN in a matrix makes the sums NaN and leaves the minima.
// Errors: INVALID_ARGUMENT a rule above is broken; nothing was added.
namespace cpu {
template <typename T>
absl::Status AccumulateGain(const GainArgs<T>& args, GainSums& sums);
}  // namespace cpu

}  // namespace birkhoff
