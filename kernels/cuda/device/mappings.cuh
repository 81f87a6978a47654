// The residual mappings as policies: what a kernel that makes coefficients takes as its template
// argument.  A token belongs to a group of lanes, one for each row of H_res.
//
//   kLogits, kDynamic, kRead, kWrite   the row of core/base/mapping.h
//   kKeepsHistory                      reads the SinkhornHistory
//   Forward    logit(k) -> the lane's row of H_res
//   Backward   logit(k), dmatrix(k) -> emit(k, dlogit) for all k, each once, by some lane of the
//              group, after every lane has read what it needs: outputs may lie over the inputs
//
// A mapping of kernels/mappings is made by every lane of the group for itself, which then takes its
// row, in double where it iterates, as Sinkhorn is; those that cost most have lanes that work
// together.
#pragma once

#include <type_traits>

#include "kernels/cuda/device/sinkhorn.cuh"
#include "kernels/mappings/all.h"

namespace birkhoff::cuda {

template <int N, MappingKind kKind>
struct MappingRow {
  static constexpr int kLogits = NumMixLogits(kKind, N);
  static constexpr int kDynamic = NumDynamicColumns(kKind, N);
  static constexpr ReadGate kRead = TraitsOf(kKind).read;
  static constexpr WriteGate kWrite = TraitsOf(kKind).write;
  static constexpr bool kKeepsHistory = false;
};

template <int N, MappingKind kKind, typename Mapping>
struct LaneMapping : MappingRow<N, kKind> {
  using MappingRow<N, kKind>::kLogits;
  static constexpr int kMost = kLogits > 0 ? kLogits : 1;  // an array has an element
  static constexpr int kIterations = TraitsOf(kKind).most_iterations;
  static constexpr int kHistory = Mapping::History(N, kIterations);
  using Real = std::conditional_t<(kIterations > 0), double, float>;

  template <typename Logit>
  __device__ static void Forward(const RowLane<N>& lane, const Logit& logit, int iterations,
                                 float* row) {
    Real logits[kMost], matrix[N * N];
#pragma unroll
    for (int k = 0; k < kLogits; ++k) logits[k] = Real(logit(k));
    Mapping::template Forward<N>(logits, iterations, matrix);
#pragma unroll
    for (int k = 0; k < N * N; ++k) {
      if (k / N == lane.row) row[k % N] = float(matrix[k]);
    }
  }

  template <typename Logit, typename Gradient, typename Emit>
  __device__ static void Backward(const RowLane<N>& lane, const Logit& logit,
                                  const Gradient& dmatrix, int iterations, const SinkhornHistory&,
                                  const Emit& emit) {
    if constexpr (kLogits > 0) {
      Real logits[kMost], above[N * N], dlogits[kMost], history[kHistory > 0 ? kHistory : 1];
#pragma unroll
      for (int k = 0; k < kLogits; ++k) logits[k] = Real(logit(k));
#pragma unroll
      for (int k = 0; k < N * N; ++k) above[k] = Real(dmatrix(k));
      Mapping::template Backward<N>(logits, above, iterations, history, dlogits);
      // All have read: a lane every N-th logit.
      __syncwarp(lane.mask);
#pragma unroll
      for (int k = 0; k < kLogits; ++k) {
        if (k % N == lane.row) emit(k, float(dlogits[k]));
      }
    }
  }
};

template <int N, MappingKind kKind>
struct LaneMapping<N, kKind, mappings::Sinkhorn> : MappingRow<N, kKind> {
  static constexpr bool kKeepsHistory = true;

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

template <int N, MappingKind kKind>
struct LaneMapping<N, kKind, mappings::Static> : LaneMapping<N, kKind, mappings::Sinkhorn> {};

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
template <int N, MappingKind kKind>
struct LaneMapping<N, kKind, mappings::Permutations> : MappingRow<N, kKind> {
  using MappingRow<N, kKind>::kLogits;

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
