// deepseek: Sinkhorn in the order of DeepSeek's released code, with its epsilons,
//
//   M = softmax of every column + eps;   then rows / (their sums + eps);
//   iterations - 1 times: columns / (their sums + eps), rows / (their sums + eps)
//
// and H_pre = sigmoid + eps.  Each matrix here is H_res; that code keeps its transpose, so that what
// it calls rows are columns.  At logits of a few units it is another function than `sinkhorn`.
// Source: DeepSeek-V4, arXiv 2606.19348; deepseek-ai/TileKernels, tile_kernels/torch/mhc.py.
#pragma once

#include "core/base/mapping.h"
#include "kernels/mappings/token.h"

namespace birkhoff::mappings {

struct DeepSeek {
  // One over (sum + eps) of every row or column that was divided.
  static constexpr int History(int n, int iterations) { return n * (2 * iterations - 1); }

  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Forward(const T* logits, int iterations, T* matrix) {
    T inverse[N];
    Run<N>(logits, iterations, matrix, [&](int) { return inverse; });
  }

  // Backwards through the divisions: a step's input is its output times what it was divided by.
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Backward(const T* logits, const T* dmatrix, int iterations,
                                            T* history, T* dlogits) {
    T matrix[N * N], flow[N * N];
    Run<N>(logits, iterations, matrix, [&](int step) { return history + step * N; });
    for (int k = 0; k < N * N; ++k) flow[k] = dmatrix[k];
    for (int step = 2 * iterations - 2; step >= 0; --step) {
      Undo<N>(/*rows=*/step % 2 == 0, history + step * N, matrix, flow);
    }
    // Through the softmax.
    for (int k = 0; k < N * N; ++k) matrix[k] -= T(kDeepSeekEps);
    for (int j = 0; j < N; ++j) {
      T mean = T(0);
      for (int i = 0; i < N; ++i) mean += matrix[i * N + j] * flow[i * N + j];
      for (int i = 0; i < N; ++i) dlogits[i * N + j] = matrix[i * N + j] * (flow[i * N + j] - mean);
    }
  }

 private:
  // scales(step): where the step puts its n factors.
  template <int N, typename T, typename Scales>
  BIRKHOFF_HOST_DEVICE static void Run(const T* logits, int iterations, T* matrix,
                                       const Scales& scales) {
    for (int j = 0; j < N; ++j) {
      T largest = logits[j], sum = T(0);
      for (int i = 1; i < N; ++i)
        largest = logits[i * N + j] > largest ? logits[i * N + j] : largest;
      for (int i = 0; i < N; ++i) {
        sum += matrix[i * N + j] = std::exp(logits[i * N + j] - largest);
      }
      for (int i = 0; i < N; ++i) {
        matrix[i * N + j] = matrix[i * N + j] / sum + T(kDeepSeekEps);
      }
    }
    for (int step = 0; step < 2 * iterations - 1; ++step) {
      Divide<N>(/*rows=*/step % 2 == 0, matrix, scales(step));
    }
  }

  // Entry `other` of row `line`, or of column `line`.
  template <int N>
  BIRKHOFF_HOST_DEVICE static int At(bool rows, int line, int other) {
    return rows ? line * N + other : other * N + line;
  }

  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Divide(bool rows, T* matrix, T* inverse) {
    for (int line = 0; line < N; ++line) {
      T sum = T(kDeepSeekEps);
      for (int k = 0; k < N; ++k) sum += matrix[At<N>(rows, line, k)];
      inverse[line] = T(1) / sum;
      for (int k = 0; k < N; ++k) matrix[At<N>(rows, line, k)] *= inverse[line];
    }
  }

  // matrix: from the step's output to its input; flow: the gradient of the one to the other's.
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Undo(bool rows, const T* inverse, T* matrix, T* flow) {
    for (int line = 0; line < N; ++line) {
      T mean = T(0);
      for (int k = 0; k < N; ++k) {
        mean += matrix[At<N>(rows, line, k)] * flow[At<N>(rows, line, k)];
      }
      for (int k = 0; k < N; ++k) {
        T& gradient = flow[At<N>(rows, line, k)];
        gradient = inverse[line] * (gradient - mean);
        matrix[At<N>(rows, line, k)] /= inverse[line];
      }
    }
  }
};

}  // namespace birkhoff::mappings
