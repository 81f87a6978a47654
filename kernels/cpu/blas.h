// The one door to products of matrices, row-major: float by oneDNN or OpenBLAS (paths.h), double by
// OpenBLAS.  A library works in one thread: a sum is never cut.
#pragma once

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

// c = alpha op(a) op(b) + beta c.  Sizes are positive and fit an int.  Ends the process where the
// library finds no memory for its own copies of a and b (at most some megabytes).
void Multiply(GemmSize size, float alpha, MatrixView<float> a, MatrixView<float> b, float beta,
              float* c, int64_t c_stride);
void Multiply(GemmSize size, double alpha, MatrixView<double> a, MatrixView<double> b, double beta,
              double* c, int64_t c_stride);

// The same, shared out among the thread's team in pieces of c; the pieces depend on the sizes
// alone, so the bits do not depend on the team.
template <typename T>
void MultiplyShared(GemmSize size, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, T* c,
                    int64_t c_stride);

}  // namespace birkhoff::cpu
