// Products on the CPU are BLAS's; over nothing (k = 0) c is scaled here.
#include "kernels/matmul.h"

#include "core/base/status_macros.h"
#include "kernels/cpu/blas.h"

namespace birkhoff::cpu {
namespace {

// c = beta c, for products over nothing.
template <typename T>
void Scale(const GemmArgs<T>& args) {
  for (int64_t i = 0; i < args.m; ++i) {
    T* row = args.c + i * args.ldc;
    for (int64_t j = 0; j < args.n; ++j) row[j] = args.beta == 0.0 ? T(0) : T(args.beta) * row[j];
  }
}

Transpose ToTranspose(bool transpose) { return transpose ? Transpose::kYes : Transpose::kNo; }

}  // namespace

template <typename T>
absl::Status Gemm(const GemmArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.m == 0 || args.n == 0) return absl::OkStatus();
  if (args.k == 0) {
    Scale(args);
    return absl::OkStatus();
  }
  MultiplyShared<T>(
      {args.m, args.n, args.k}, T(args.alpha), {args.a, args.lda, ToTranspose(args.transpose_a)},
      {args.b, args.ldb, ToTranspose(args.transpose_b)}, T(args.beta), args.c, args.ldc);
  return absl::OkStatus();
}

template absl::Status Gemm(const GemmArgs<float>&);
template absl::Status Gemm(const GemmArgs<double>&);

}  // namespace birkhoff::cpu
