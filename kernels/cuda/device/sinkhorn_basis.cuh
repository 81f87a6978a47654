// The part of Sinkhorn's gradient that does not wait for the gradient of its result.
//
// The matrix is H = diag(a) K diag(b) with a the last scaling of an iteration.  Given dH, one half
// step back is plain: with g_i = sum_j H_ij dH_ij,
//   F_ij = H_ij (dH_ij - g_i)         dlogits so far
//   f_j  = sum_i F_ij                 what is left over for log b; the f_j sum to 0
// and all earlier half steps are linear in f.  So dlogits = F + sum_{k < N - 1} f_k B_k, where B_k
// is what they make of f = e_k - e_{N-1}: N - 1 matrices a token, made of the logits alone.
#pragma once

#include <cmath>

#include "kernels/cuda/device/hopper.cuh"

namespace birkhoff::cuda {

// Scalings themselves; K holds exponentials.
template <typename RealType>
struct PlainScaling {
  using Real = RealType;
  static constexpr Real kStart = 1;
  __device__ static float Exp(float x) { return expf(x); }
  __device__ static double Exp(double x) { return exp(x); }

  __device__ static Real Kernel(float logit) { return Exp(Real(logit)); }
  // Of a row, and of the whole: the former serves two steps.
  __device__ static Real Scaled(Real kernel, Real a) { return kernel * a; }
  __device__ static Real Entry(Real scaled, Real b) { return scaled * b; }
  // What makes the sum of kCount terms that are scaled 1.
  template <int kCount>
  __device__ static Real BalanceScaled(const Real (&scaled)[kCount]) {
    Real sum = scaled[0];
#pragma unroll
    for (int k = 1; k < kCount; ++k) sum += scaled[k];
    return Reciprocal(sum);
  }
  // What makes the sum of kCount terms 1.
  template <int kCount, typename Term>
  __device__ static Real Balance(const Term& kernel, const Real (&scaling)[kCount]) {
    Real sum = 0;
#pragma unroll
    for (int k = 0; k < kCount; ++k) sum += kernel(k) * scaling[k];
    return Reciprocal(sum);
  }
};

// Their logarithms, where a double cannot hold them; K holds logits.
struct LogarithmicScaling {
  using Real = double;
  static constexpr Real kStart = 0;

  __device__ static Real Kernel(float logit) { return Real(logit); }
  __device__ static Real Scaled(Real kernel, Real a) { return kernel + a; }
  __device__ static Real Entry(Real scaled, Real b) { return exp(scaled + b); }
  template <int kCount>
  __device__ static Real BalanceScaled(const Real (&scaled)[kCount]) {
    const Real zeros[kCount] = {};
    return Balance([&](int k) { return scaled[k]; }, zeros);
  }
  template <int kCount, typename Term>
  __device__ static Real Balance(const Term& kernel, const Real (&scaling)[kCount]) {
    Real largest = kernel(0) + scaling[0], sum = 0;
#pragma unroll
    for (int k = 1; k < kCount; ++k) largest = fmax(largest, kernel(k) + scaling[k]);
#pragma unroll
    for (int k = 0; k < kCount; ++k) sum += exp(kernel(k) + scaling[k] - largest);
    return -(largest + log(sum));
  }
};

// Where a thread keeps the scalings a that each iteration begins with: a_i of iteration t at
// [(t N + i) stride].  Rounded, they are the scalings of a point that lies as near.
struct ScalingHistory {
  int stride = 0;
  float* at = nullptr;
};

// Column scalings from row scalings, and back.
template <int N, typename Scaling, typename Real>
__device__ inline void BalanceColumns(const Real (&kernel)[N][N], const Real (&a)[N],
                                      Real (&b)[N]) {
#pragma unroll
  for (int j = 0; j < N; ++j) b[j] = Scaling::Balance([&](int i) { return kernel[i][j]; }, a);
}
template <int N, typename Scaling, typename Real>
__device__ inline void BalanceRows(const Real (&kernel)[N][N], const Real (&b)[N], Real (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) a[i] = Scaling::Balance([&](int j) { return kernel[i][j]; }, b);
}

// What flows back through an entry, off the entry's own gradient and off that of the other scaling.
template <typename Real>
__device__ inline void Flow(Real gradient, Real entry, Real& of_entry, Real& of_other) {
  of_entry = fma(-gradient, entry, of_entry);
  of_other = fma(-gradient, entry, of_other);
}

// B_k of logits whose largest is 0.
template <int N, typename Scaling>
__device__ inline void BasisMatrixBy(const float (&centred)[N][N], int iterations, int k,
                                     const ScalingHistory& history, float* out) {
  using Real = typename Scaling::Real;
  Real kernel[N][N], a[N], b[N], matrix[N][N];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    a[i] = Scaling::kStart;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      kernel[i][j] = Scaling::Kernel(centred[i][j]);
      matrix[i][j] = 0;
    }
  }
  // Forward, with the scalings that each iteration begins with kept.
#pragma unroll 1
  for (int t = 0; t < iterations; ++t) {
#pragma unroll
    for (int i = 0; i < N; ++i) history.at[(t * N + i) * history.stride] = float(a[i]);
    BalanceColumns<N, Scaling>(kernel, a, b);
    BalanceRows<N, Scaling>(kernel, b, a);
  }

  // Back from f = e_k - e_{N-1}.
  Real to_a[N] = {}, to_b[N];  // gradients of log a and log b at the step at hand
  Real after[N][N];            // the kernel with the scalings a that the step at hand has made
#pragma unroll
  for (int j = 0; j < N; ++j) to_b[j] = j == k ? 1 : j == N - 1 ? -1 : 0;
#pragma unroll 1
  for (int t = iterations - 1; t >= 0; --t) {
    Real scaled[N][N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const Real before = Real(history.at[(t * N + i) * history.stride]);
#pragma unroll
      for (int j = 0; j < N; ++j) scaled[i][j] = Scaling::Scaled(kernel[i][j], before);
    }
#pragma unroll
    for (int j = 0; j < N; ++j) {
      Real column[N];
#pragma unroll
      for (int i = 0; i < N; ++i) column[i] = scaled[i][j];
      b[j] = Scaling::BalanceScaled(column);
    }
    if (t < iterations - 1) {  // back through a, which the rows made
      if constexpr (sizeof(Real) > sizeof(float)) {
        BalanceRows<N, Scaling>(kernel, b, a);
#pragma unroll
        for (int e = 0; e < N * N; ++e) {
          after[e / N][e % N] = Scaling::Scaled(kernel[e / N][e % N], a[e / N]);
        }
      }
#pragma unroll
      for (int j = 0; j < N; ++j) to_b[j] = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) {
#pragma unroll
        for (int j = 0; j < N; ++j)
          Flow(to_a[i], Scaling::Entry(after[i][j], b[j]), matrix[i][j], to_b[j]);
      }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {  // back through b, which the columns made
      to_a[i] = 0;
#pragma unroll
      for (int j = 0; j < N; ++j) {
        Flow(to_b[j], Scaling::Entry(scaled[i][j], b[j]), matrix[i][j], to_a[i]);
        after[i][j] = scaled[i][j];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) {
#pragma unroll
    for (int j = 0; j < N; ++j) out[i * N + j] = float(matrix[i][j]);
  }
}

// Logits that spread further make matrices so near a permutation that flows cancel to the last
// digits of a float; and beyond the second limit a double cannot hold the scalings.
inline constexpr float kFloatSpread = 8.0f, kDoubleSpread = 200.0f;

// A call, so that the usual way has its registers.
template <int N>
__device__ __noinline__ void RareBasisMatrix(const float (&centred)[N][N], float spread,
                                             int iterations, int k, const ScalingHistory& history,
                                             float* out) {
  if (spread <= kDoubleSpread) {
    BasisMatrixBy<N, PlainScaling<double>>(centred, iterations, k, history, out);
  } else {
    BasisMatrixBy<N, LogarithmicScaling>(centred, iterations, k, history, out);
  }
}

// B_k for the logits of a token; out: [N, N].
template <int N, typename Logit>
__device__ inline void BasisMatrix(const Logit& logit, int iterations, int k,
                                   const ScalingHistory& history, float* out) {
  float centred[N][N], largest = logit(0), smallest = largest;
#pragma unroll
  for (int e = 0; e < N * N; ++e) {
    centred[e / N][e % N] = logit(e);
    largest = fmaxf(largest, centred[e / N][e % N]);
    smallest = fminf(smallest, centred[e / N][e % N]);
  }
#pragma unroll
  for (int e = 0; e < N * N; ++e) centred[e / N][e % N] -= largest;
  if (largest - smallest <= kFloatSpread) {
    BasisMatrixBy<N, PlainScaling<float>>(centred, iterations, k, history, out);
  } else {
    RareBasisMatrix<N>(centred, largest - smallest, iterations, k, history, out);
  }
}

}  // namespace birkhoff::cuda
