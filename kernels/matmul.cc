// Sizes and strides must fit the 32-bit integers of BLAS, and no stored row may be shorter than
// what is read of it.
#include "kernels/matmul.h"

#include <algorithm>
#include <limits>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

absl::Status ValidateSize(const char* name, int64_t size) {
  if (size >= 0 && size <= std::numeric_limits<int32_t>::max()) return absl::OkStatus();
  return RefuseArgument("gemm", absl::StrCat(name, "=", size), "0 to 2^31 - 1");
}

absl::Status ValidateStride(const char* name, int64_t stride, int64_t columns) {
  if (stride >= std::max<int64_t>(columns, 1) && stride <= std::numeric_limits<int32_t>::max()) {
    return absl::OkStatus();
  }
  return RefuseArgument("gemm", absl::StrCat(name, "=", stride),
                        absl::StrCat("at least the row length ", columns).c_str());
}

}  // namespace

template <typename T, typename Out>
absl::Status Validate(const GemmArgs<T, Out>& args) {
  RETURN_IF_ERROR(ValidateSize("m", args.m));
  RETURN_IF_ERROR(ValidateSize("n", args.n));
  RETURN_IF_ERROR(ValidateSize("k", args.k));
  RETURN_IF_ERROR(ValidateStride("lda", args.lda, args.transpose_a ? args.m : args.k));
  RETURN_IF_ERROR(ValidateStride("ldb", args.ldb, args.transpose_b ? args.k : args.n));
  RETURN_IF_ERROR(ValidateStride("ldc", args.ldc, args.n));
  if (args.m == 0 || args.n == 0) return absl::OkStatus();
  if (args.k > 0) RETURN_IF_ERROR(RequirePointers("gemm", {{"a", args.a}, {"b", args.b}}));
  return RequirePointers("gemm", {{"c", args.c}});
}

template absl::Status Validate(const GemmArgs<float>&);
template absl::Status Validate(const GemmArgs<double>&);
template absl::Status Validate(const GemmArgs<bf16>&);
template absl::Status Validate(const GemmArgs<bf16, float>&);

}  // namespace birkhoff
