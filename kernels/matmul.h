// Matrix product through BLAS, row-major.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace birkhoff {

// c = alpha op(a) op(b) + beta c, with op(a) [m, k], op(b) [k, n], c [m, n].
template <typename T>
struct GemmArgs {
  bool transpose_a = false;     // a is stored [k, m]
  bool transpose_b = false;     // b is stored [n, k]; y = x W^T has this true
  int64_t m = 0, n = 0, k = 0;  // 0 .. 2^31 - 1; k = 0 scales c by beta
  T alpha = 1;
  const T* a = nullptr;
  int64_t lda = 0;  // elements between stored rows; >= their length
  const T* b = nullptr;
  int64_t ldb = 0;
  T beta = 0;  // 0: c is not read
  T* c = nullptr;
  int64_t ldc = 0;
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const GemmArgs<T>& args);

// Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.
namespace cpu {
template <typename T>
absl::Status Gemm(const GemmArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
