// Matrix product through BLAS or cuBLASLt, row-major.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

// c = alpha op(a) op(b) + beta c, with op(a) [m, k], op(b) [k, n], c [m, n].
//
// Out is T, or ScalarOf<T> where nothing may be rounded away: logits, weight gradients.  Sums are
// in ScalarOf<T>; the order does not depend on the data, so the same call gives the same bits.
template <typename T, typename Out = T>
struct GemmArgs {
  bool transpose_a = false;     // a is stored [k, m]
  bool transpose_b = false;     // b is stored [n, k]; y = x W^T has this true
  int64_t m = 0, n = 0, k = 0;  // 0 .. 2^31 - 1; k = 0 scales c by beta
  double alpha = 1.0;
  const T* a = nullptr;
  int64_t lda = 0;  // elements between stored rows; >= their length
  const T* b = nullptr;
  int64_t ldb = 0;
  double beta = 0.0;  // 0: c is not read
  Out* c = nullptr;
  int64_t ldc = 0;
  void* workspace = nullptr;  // as many bytes as the backend says
};

// What every backend checks first; the errors below.
template <typename T, typename Out>
absl::Status Validate(const GemmArgs<T, Out>& args);

// Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.  T: float, double.
namespace cpu {
template <typename T>
absl::Status Gemm(const GemmArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
