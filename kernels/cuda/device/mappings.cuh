// The residual mappings of kernels/mapping.h as policies: what a kernel that makes coefficients
// takes as its template argument.  A token belongs to a group of lanes, one for each row of H_res.
//
//   kLogits    K_res
//   Forward    logit(k) -> the lane's row of H_res
//   Backward   logit(k), dmatrix(k) -> emit(k, dlogit) for all k, each once, by some lane of the
//              group, after every lane has read what it needs: outputs may lie over the inputs
#pragma once

#include "kernels/cuda/device/sinkhorn.cuh"

namespace birkhoff::cuda {

template <int N>
struct IdentityMapping {
  static constexpr int kLogits = 0;

  template <typename Logit>
  __device__ static void Forward(const RowLane<N>& lane, const Logit&, int, float* row) {
#pragma unroll
    for (int j = 0; j < N; ++j) row[j] = j == lane.row ? 1.0f : 0.0f;
  }
  template <typename Logit, typename Gradient, typename Emit>
  __device__ static void Backward(const RowLane<N>&, const Logit&, const Gradient&, int,
                                  const SinkhornHistory&, const Emit&) {}
};

template <int N>
struct FreeMapping {
  static constexpr int kLogits = N * N;

  template <typename Logit>
  __device__ static void Forward(const RowLane<N>& lane, const Logit& logit, int, float* row) {
#pragma unroll
    for (int j = 0; j < N; ++j) row[j] = lane.active() ? logit(lane.row * N + j) : 0.0f;
  }
  template <typename Logit, typename Gradient, typename Emit>
  __device__ static void Backward(const RowLane<N>& lane, const Logit&, const Gradient& dmatrix,
                                  int, const SinkhornHistory&, const Emit& emit) {
    if (!lane.active()) return;
#pragma unroll
    for (int j = 0; j < N; ++j) emit(lane.row * N + j, dmatrix(lane.row * N + j));
  }
};

template <int N>
struct SinkhornMapping {
  static constexpr int kLogits = N * N;

  template <typename Entry>
  __device__ static void LoadRow(const RowLane<N>& lane, const Entry& entry, float* row) {
#pragma unroll
    for (int j = 0; j < N; ++j) row[j] = lane.active() ? entry(lane.row * N + j) : 0.0f;
  }
  template <typename Logit>
  __device__ static void Forward(const RowLane<N>& lane, const Logit& logit, int iterations,
                                 float* row) {
    float logits[N];
    LoadRow(lane, logit, logits);
    SinkhornForward<N>(lane, logits, iterations, row);
  }
  template <typename Logit, typename Gradient, typename Emit>
  __device__ static void Backward(const RowLane<N>& lane, const Logit& logit,
                                  const Gradient& dmatrix, int iterations,
                                  const SinkhornHistory& history, const Emit& emit) {
    float logits[N], drow[N], dlogits[N];
    LoadRow(lane, logit, logits);
    LoadRow(lane, dmatrix, drow);
    SinkhornBackward<N>(lane, logits, drow, iterations, history, dlogits);
    if (!lane.active()) return;
#pragma unroll
    for (int j = 0; j < N; ++j) emit(lane.row * N + j, dlogits[j]);
  }
};

__host__ __device__ constexpr int Factorial(int n) { return n <= 1 ? 1 : n * Factorial(n - 1); }

// column[k][i]: the column of row i in the k-th permutation of n, in lexicographic order: the
// digits of k in the factorial base pick from the columns not yet taken.
template <int N>
struct PermutationTable {
  __host__ __device__ constexpr PermutationTable() {
    for (int k = 0; k < Factorial(N); ++k) {
      bool taken[N] = {};
      for (int i = 0, rest = k; i < N; ++i) {
        const int block = Factorial(N - 1 - i);
        int digit = rest / block, pick = 0;
        rest %= block;
        while (taken[pick] || digit > 0) digit -= taken[pick++] ? 0 : 1;
        taken[pick] = true;
        column[k][i] = pick;
      }
    }
  }
  int column[Factorial(N)][N] = {};
};

// Every lane makes all n! weights; the matrix is theirs to share.
template <int N>
struct PermutationsMapping {
  static constexpr int kLogits = Factorial(N);

  template <typename Logit>
  __device__ static void Softmax(const Logit& logit, float* weights) {
    float largest = weights[0] = logit(0), sum = 0.0f;
#pragma unroll
    for (int k = 1; k < kLogits; ++k) largest = fmaxf(largest, weights[k] = logit(k));
#pragma unroll
    for (int k = 0; k < kLogits; ++k) sum += weights[k] = expf(weights[k] - largest);
#pragma unroll
    for (int k = 0; k < kLogits; ++k) weights[k] = __fdiv_rn(weights[k], sum);
  }

  template <typename Logit>
  __device__ static void Forward(const RowLane<N>& lane, const Logit& logit, int, float* row) {
    constexpr PermutationTable<N> kTable;
    float weights[kLogits], matrix[N * N] = {};
    Softmax(logit, weights);
#pragma unroll
    for (int k = 0; k < kLogits; ++k) {
#pragma unroll
      for (int i = 0; i < N; ++i) matrix[i * N + kTable.column[k][i]] += weights[k];
    }
#pragma unroll
    for (int k = 0; k < N * N; ++k) {
      if (k / N == lane.row) row[k % N] = matrix[k];
    }
  }

  template <typename Logit, typename Gradient, typename Emit>
  __device__ static void Backward(const RowLane<N>& lane, const Logit& logit,
                                  const Gradient& dmatrix, int, const SinkhornHistory&,
                                  const Emit& emit) {
    constexpr PermutationTable<N> kTable;
    float weights[kLogits], dweights[kLogits] = {}, entries[N * N], mean = 0.0f;
    Softmax(logit, weights);
    // Gradients of the weights, and their mean under the weights.
#pragma unroll
    for (int k = 0; k < N * N; ++k) entries[k] = dmatrix(k);
#pragma unroll
    for (int k = 0; k < kLogits; ++k) {
#pragma unroll
      for (int i = 0; i < N; ++i) dweights[k] += entries[i * N + kTable.column[k][i]];
      mean = fmaf(weights[k], dweights[k], mean);
    }
    // All have read: through the softmax, a lane every N-th logit.
    __syncwarp(lane.mask);
#pragma unroll
    for (int k = 0; k < kLogits; ++k) {
      if (k % N == lane.row) emit(k, weights[k] * (dweights[k] - mean));
    }
  }
};

}  // namespace birkhoff::cuda
