// The one door to BLAS: row-major products of float and double.
#pragma once

#include <cblas.h>

#include <cstdint>

namespace birkhoff::cpu {

enum class Transpose { kNo, kYes };

// A row-major matrix in memory: `stride` elements between its rows.
template <typename T>
struct MatrixView {
  const T* data;
  int64_t stride;
  Transpose transpose = Transpose::kNo;
};

struct GemmSize {
  int64_t m, n, k;
};

inline CBLAS_TRANSPOSE ToCblas(Transpose transpose) {
  return transpose == Transpose::kYes ? CblasTrans : CblasNoTrans;
}

// c = alpha op(a) op(b) + beta c.  Sizes are positive and fit an int.
inline void Multiply(GemmSize size, float alpha, MatrixView<float> a, MatrixView<float> b,
                     float beta, float* c, int64_t c_stride) {
  cblas_sgemm(CblasRowMajor, ToCblas(a.transpose), ToCblas(b.transpose), int(size.m), int(size.n),
              int(size.k), alpha, a.data, int(a.stride), b.data, int(b.stride), beta, c,
              int(c_stride));
}
inline void Multiply(GemmSize size, double alpha, MatrixView<double> a, MatrixView<double> b,
                     double beta, double* c, int64_t c_stride) {
  cblas_dgemm(CblasRowMajor, ToCblas(a.transpose), ToCblas(b.transpose), int(size.m), int(size.n),
              int(size.k), alpha, a.data, int(a.stride), b.data, int(b.stride), beta, c,
              int(c_stride));
}

}  // namespace birkhoff::cpu
