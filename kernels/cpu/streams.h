// What a boundary does to the C-wide rows of one token.  N = n, the number of streams, is a
// constant, so that the loops over streams unroll and the loop over channels vectorises.
//
// Loops marked BIRKHOFF_INDEPENDENT touch one channel per turn: an output may be an input.
#pragma once

#include <cstdint>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {

// The coefficients of one token: H_pre [n], H_post [n], H_res [n, n].
template <int N, typename T>
struct TokenCoefficients {
  explicit TokenCoefficients(const T* coefficients) {
    for (int k = 0; k < N; ++k) pre[k] = coefficients[k];
    for (int k = 0; k < N; ++k) post[k] = coefficients[N + k];
    for (int k = 0; k < N * N; ++k) res[k] = coefficients[2 * N + k];
  }
  T pre[N], post[N], res[N * N];
};

// out = H_res x + H_post^T y.
template <int N, typename T>
void MergeToken(const TokenCoefficients<N, T>& h, const T* x, const T* y, int64_t channels,
                T* out) {
  BIRKHOFF_INDEPENDENT
  for (int64_t c = 0; c < channels; ++c) {
    T in[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) in[j] = x[j * channels + c];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      T sum = h.post[i] * y[c];
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum += h.res[i * N + j] * in[j];
      out[i * channels + c] = sum;
    }
  }
}

// out = sum_j weight[j] x_j.
template <int N, typename T>
void ReadToken(const T* weight, const T* x, int64_t channels, T* out) {
  BIRKHOFF_INDEPENDENT
  for (int64_t c = 0; c < channels; ++c) {
    T sum = 0;
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) sum += weight[j] * x[j * channels + c];
    out[c] = sum;
  }
}

// dx_j = sum_i H_res[i][j] dx_above_i + H_pre[j] du - norm[j] x_j.
template <int N, typename T>
void CombineToken(const TokenCoefficients<N, T>& h, const T* norm, const T* dx_above, const T* du,
                  const T* x, int64_t channels, T* dx) {
  BIRKHOFF_INDEPENDENT
  for (int64_t c = 0; c < channels; ++c) {
    T above[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) above[i] = dx_above[i * channels + c];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      T sum = h.pre[j] * du[c] - norm[j] * x[j * channels + c];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) sum += h.res[i * N + j] * above[i];
      dx[j * channels + c] = sum;
    }
  }
}

// Gradients of the coefficients: dH_pre[j] = du . x_j, dH_post[i] = dx_above_i . y,
// dH_res[i][j] = dx_above_i . x_j.
template <int N, typename T>
void CoefficientGradients(const T* dx_above, const T* du, const T* x, const T* y, int64_t channels,
                          T* dcoefficients) {
  const T* rows[N + 1];
  for (int j = 0; j < N; ++j) rows[j] = x + j * channels;
  rows[N] = y;
  DotMany<N>(du, rows, channels, dcoefficients);
  for (int i = 0; i < N; ++i) {
    T dots[N + 1];
    DotMany<N + 1>(dx_above + i * channels, rows, channels, dots);
    for (int j = 0; j < N; ++j) dcoefficients[2 * N + i * N + j] = dots[j];
    dcoefficients[N + i] = dots[N];
  }
}

// out = a b, n x n, summed in double; out may be a or b.
template <int N, typename T>
void MultiplyMatrices(const T* a, const T* b, T* out) {
  double right[N * N], product[N * N] = {};
  for (int k = 0; k < N * N; ++k) right[k] = double(b[k]);
  for (int i = 0; i < N; ++i) {
    for (int k = 0; k < N; ++k) {
      const double left = double(a[i * N + k]);
      for (int j = 0; j < N; ++j) product[i * N + j] += left * right[k * N + j];
    }
  }
  for (int k = 0; k < N * N; ++k) out[k] = T(product[k]);
}

}  // namespace birkhoff::cpu
