// oneDNN is asked through its BLAS interface: no primitive to make and keep for a shape, any
// strides, and kernels that it writes once for the processor's features.
#include "kernels/cpu/blas.h"

#include <cblas.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "kernels/cpu/paths.h"
#include "kernels/cpu/team.h"

// Of the OpenMP library that oneDNN runs on.
extern "C" void omp_set_num_threads(int num_threads);

namespace birkhoff::cpu {
namespace {

CBLAS_TRANSPOSE ToCblas(Transpose transpose) {
  return transpose == Transpose::kYes ? CblasTrans : CblasNoTrans;
}

char ToDnnl(Transpose transpose) { return transpose == Transpose::kYes ? 'T' : 'N'; }

void MultiplyByOneDnn(GemmSize size, float alpha, MatrixView<float> a, MatrixView<float> b,
                      float beta, float* c, int64_t c_stride) {
  omp_set_num_threads(1);  // of this thread's calls
  const dnnl_status_t status =
      dnnl_sgemm(ToDnnl(a.transpose), ToDnnl(b.transpose), size.m, size.n, size.k, alpha, a.data,
                 a.stride, b.data, b.stride, beta, c, c_stride);
  BIRKHOFF_CHECK(status == dnnl_success,
                 absl::StrCat("oneDNN: a product of ", size.m, " x ", size.k, " and ", size.k,
                              " x ", size.n, ": error ", int{status})
                     .c_str());
}

// c is cut along its longer side into a power of two of pieces: wide enough that packing its
// operands costs little, large enough to be worth a thread.
constexpr int64_t kNarrowest = 128, kMostPieces = 16, kFewestProducts = int64_t{1} << 21;
constexpr int64_t kTile = 48;  // what the libraries' kernels take at a time, or a multiple of it

int64_t PieceLength(GemmSize size) {
  const int64_t longer = std::max(size.m, size.n), shorter = std::min(size.m, size.n);
  int64_t pieces = 1;
  while (pieces < kMostPieces && longer / (2 * pieces) >= kNarrowest &&
         longer / (2 * pieces) * shorter * size.k >= kFewestProducts) {
    pieces *= 2;
  }
  return pieces == 1 ? longer : NumPieces(NumPieces(longer, pieces), kTile) * kTile;
}

// Where row `index` of op(a), or column `index` of op(b), starts.
template <typename T>
const T* RowOf(MatrixView<T> a, int64_t index) {
  return a.data + index * (a.transpose == Transpose::kYes ? 1 : a.stride);
}
template <typename T>
const T* ColumnOf(MatrixView<T> b, int64_t index) {
  return b.data + index * (b.transpose == Transpose::kYes ? b.stride : 1);
}

}  // namespace

void Multiply(GemmSize size, float alpha, MatrixView<float> a, MatrixView<float> b, float beta,
              float* c, int64_t c_stride) {
  if (ThisProcess().products == ProductLibrary::kOneDnn) {
    return MultiplyByOneDnn(size, alpha, a, b, beta, c, c_stride);
  }
  cblas_sgemm(CblasRowMajor, ToCblas(a.transpose), ToCblas(b.transpose), int(size.m), int(size.n),
              int(size.k), alpha, a.data, int(a.stride), b.data, int(b.stride), beta, c,
              int(c_stride));
}

void Multiply(GemmSize size, double alpha, MatrixView<double> a, MatrixView<double> b, double beta,
              double* c, int64_t c_stride) {
  cblas_dgemm(CblasRowMajor, ToCblas(a.transpose), ToCblas(b.transpose), int(size.m), int(size.n),
              int(size.k), alpha, a.data, int(a.stride), b.data, int(b.stride), beta, c,
              int(c_stride));
}

template <typename T>
void MultiplyShared(GemmSize size, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, T* c,
                    int64_t c_stride) {
  const int64_t length = PieceLength(size);
  if (size.m > size.n) {
    ShareOut(NumPieces(size.m, length), [&](int64_t index) {
      const Piece rows(index, length, size.m);
      Multiply({rows.size(), size.n, size.k}, alpha,
               MatrixView<T>{RowOf(a, rows.first), a.stride, a.transpose}, b, beta,
               c + rows.first * c_stride, c_stride);
    });
  } else {
    ShareOut(NumPieces(size.n, length), [&](int64_t index) {
      const Piece columns(index, length, size.n);
      Multiply({size.m, columns.size(), size.k}, alpha, a,
               MatrixView<T>{ColumnOf(b, columns.first), b.stride, b.transpose}, beta,
               c + columns.first, c_stride);
    });
  }
}
template void MultiplyShared(GemmSize, float, MatrixView<float>, MatrixView<float>, float, float*,
                             int64_t);
template void MultiplyShared(GemmSize, double, MatrixView<double>, MatrixView<double>, double,
                             double*, int64_t);

}  // namespace birkhoff::cpu
