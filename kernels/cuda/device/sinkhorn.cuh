// Sinkhorn of one n x n matrix in a few lanes of a warp, a row to a lane, forward and backward, in
// double.  As on the CPU (kernels/cpu/sinkhorn.cc) the iterate is diag(a) K diag(b) with
// K = exp(logits - largest); where the logits spread beyond what K can hold, it is the same
// iteration on the logarithms of a and b.
//
// Double costs little here (n^2 numbers a token beside n C) and the backward pass needs it: it
// subtracts n^2 flows per iteration that cancel to the last digits where H_res is a permutation.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/hopper.cuh"

namespace birkhoff::cuda {

// Lanes of a token: a power of two, so that they exchange by xor.
__host__ __device__ constexpr int GroupLanes(int streams) {
  return streams <= 1 ? 1 : streams <= 2 ? 2 : streams <= 4 ? 4 : 8;
}

// One lane of a token's group.  Lanes beyond the n-th are there for the exchange alone.
template <int N>
struct RowLane {
  static constexpr int kLanes = GroupLanes(N);

  __device__ RowLane()
      : row(int(threadIdx.x) % kLanes),
        mask(((1u << kLanes) - 1u) << (threadIdx.x % 32 / kLanes * kLanes)) {}

  __device__ bool active() const { return row < N; }
  template <typename T>
  __device__ T Sum(T value) const {
#pragma unroll
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
      value += __shfl_xor_sync(mask, value, lanes);
    }
    return value;
  }
  template <typename T>
  __device__ T Max(T value) const {
#pragma unroll
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
      const T other = __shfl_xor_sync(mask, value, lanes);
      value = value > other ? value : other;
    }
    return value;
  }

  int row;
  unsigned mask;  // of the group's lanes
};

// Where Backward keeps the row scaling of `slots` iterations, this lane's own; more iterations than
// slots are run again from the start, a segment at a time, so any number fits: it costs
// iterations^2 / (2 slots) iterations more.
struct SinkhornHistory {
  int slots = 0;
  int stride = 0;
  double* at = nullptr;  // slot s at [s * stride]
};

// Scalings themselves.  `kernel` is the lane's row of K, zeros in an idle lane; `a` its own.
template <int N>
struct LinearScaling {
  static constexpr double kStart = 1.0;
  static constexpr double kNothing = 0.0;

  __device__ static double Entry(double kernel, double a, double b) { return kernel * b * a; }
  __device__ static void Columns(const RowLane<N>& lane, const double* kernel, double a,
                                 double* b) {
#pragma unroll
    for (int j = 0; j < N; ++j) b[j] = Reciprocal(lane.Sum(kernel[j] * a));
  }
  __device__ static double Rows(const RowLane<N>& lane, const double* kernel, const double* b) {
    double sum = 0.0;
#pragma unroll
    for (int j = 0; j < N; ++j) sum = fma(kernel[j], b[j], sum);
    return lane.active() ? Reciprocal(sum) : 0.0;
  }
};

// Their logarithms; `kernel` is the lane's row of logits, -infinity in an idle lane.
template <int N>
struct LogScaling {
  static constexpr double kStart = 0.0;
  static constexpr double kNothing = -__builtin_huge_val();

  __device__ static double Entry(double kernel, double a, double b) { return exp(kernel + a + b); }
  __device__ static void Columns(const RowLane<N>& lane, const double* kernel, double a,
                                 double* b) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const double term = kernel[j] + a, largest = lane.Max(term);
      b[j] = -(largest + log(lane.Sum(exp(term - largest))));
    }
  }
  __device__ static double Rows(const RowLane<N>& lane, const double* kernel, const double* b) {
    double largest = kernel[0] + b[0], sum = 0.0;
#pragma unroll
    for (int j = 1; j < N; ++j) largest = fmax(largest, kernel[j] + b[j]);
#pragma unroll
    for (int j = 0; j < N; ++j) sum += exp(kernel[j] + b[j] - largest);
    return lane.active() ? -(largest + log(sum)) : 0.0;
  }
};

// Largest spread of logits for which K and the scalings stay within a double: a scaling stays
// within exp(+-3 spread), and 3 * 200 < 708.
constexpr double kLinearSpread = 200.0;

// The lane's row of logits less the token's largest, in double; returns whether exponentials are in
// range.  A NaN or an infinity among the logits is not, and the logarithms make NaN of it.
template <int N>
__device__ inline bool CentreLogits(const RowLane<N>& lane, const float* logits, double* centred) {
  constexpr float kHuge = __builtin_huge_valf();
  float largest = -kHuge, smallest = kHuge, broken = 0.0f;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (!lane.active()) continue;
    largest = fmaxf(largest, logits[j]);
    smallest = fminf(smallest, logits[j]);
    broken += 0.0f * logits[j];
  }
  largest = lane.Max(largest);
  smallest = -lane.Max(-smallest);
#pragma unroll
  for (int j = 0; j < N; ++j) centred[j] = double(logits[j]) - double(largest);
  return double(largest) - double(smallest) + double(lane.Sum(broken)) <= kLinearSpread;
}

// The lane's row of the matrix, divided by its sum once more: logarithms of a thousand carry errors
// of 1e-13.
template <int N, typename Scaling>
__device__ inline void AssembleRow(const double* kernel, double a, const double* b, double* row) {
  double sum = 0.0;
#pragma unroll
  for (int j = 0; j < N; ++j) sum += row[j] = Scaling::Entry(kernel[j], a, b[j]);
  const double inverse = Reciprocal(sum);
#pragma unroll
  for (int j = 0; j < N; ++j) row[j] *= inverse;
}

template <int N, typename Scaling>
__device__ inline void ForwardScaled(const RowLane<N>& lane, const double* kernel, int iterations,
                                     float* row) {
  double a = Scaling::kStart, b[N], out[N];
#pragma unroll 1
  for (int t = 0; t < iterations; ++t) {
    Scaling::Columns(lane, kernel, a, b);
    a = Scaling::Rows(lane, kernel, b);
  }
  AssembleRow<N, Scaling>(kernel, a, b, out);
#pragma unroll
  for (int j = 0; j < N; ++j) row[j] = float(out[j]);
}

// Gradients on the way back, of the lane's logits, of its log a, and of log b at the step at hand.
template <int N>
struct SinkhornGradient {
  double logits[N], a, b[N];
};

// Through one iteration that began at a_before.
template <int N, typename Scaling>
__device__ inline void BackIteration(const RowLane<N>& lane, const double* kernel, double a_before,
                                     SinkhornGradient<N>& gradient) {
  // The iteration once more.
  double b[N];
  Scaling::Columns(lane, kernel, a_before, b);
  const double a = Scaling::Rows(lane, kernel, b);
  // Through the rows, to logits and log b.
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const double flow = gradient.a * Scaling::Entry(kernel[j], a, b[j]);
    gradient.logits[j] -= flow;
    gradient.b[j] -= lane.Sum(flow);
  }
  // Through the columns, to logits and the log a that it began with.
  gradient.a = 0.0;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    const double flow = gradient.b[j] * Scaling::Entry(kernel[j], a_before, b[j]);
    gradient.logits[j] -= flow;
    gradient.a -= flow;
    gradient.b[j] = 0.0;
  }
}

// Through matrix = exp(logits + log a_i + log b_j).
template <int N, typename Scaling>
__device__ inline void StartBack(const RowLane<N>& lane, const double* kernel, double a,
                                 const double* b, const float* drow,
                                 SinkhornGradient<N>& gradient) {
  double row[N];
  AssembleRow<N, Scaling>(kernel, a, b, row);
  gradient.a = 0.0;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    gradient.logits[j] = lane.active() ? double(drow[j]) * row[j] : 0.0;
    gradient.a += gradient.logits[j];
    gradient.b[j] = lane.Sum(gradient.logits[j]);
  }
}

template <int N, typename Scaling>
__device__ inline void BackwardScaled(const RowLane<N>& lane, const double* kernel,
                                      const float* drow, int iterations,
                                      const SinkhornHistory& history, float* dlogits) {
  SinkhornGradient<N> gradient = {};
#pragma unroll 1
  for (int end = iterations; end > 0; end -= history.slots) {
    const int begin = max(0, end - history.slots);
    // Forward from the start, with the segment's scalings kept.
    double a = Scaling::kStart, b[N];
#pragma unroll 1
    for (int t = 0; t < end; ++t) {
      if (t >= begin) history.at[(t - begin) * history.stride] = a;
      Scaling::Columns(lane, kernel, a, b);
      a = Scaling::Rows(lane, kernel, b);
    }
    // Back through the matrix, once, then through the segment.
    if (end == iterations) StartBack<N, Scaling>(lane, kernel, a, b, drow, gradient);
#pragma unroll 1
    for (int t = end - 1; t >= begin; --t) {
      BackIteration<N, Scaling>(lane, kernel, history.at[(t - begin) * history.stride], gradient);
    }
  }
#pragma unroll
  for (int j = 0; j < N; ++j) dlogits[j] = float(gradient.logits[j]);
}

// K, or the logits, of an idle lane count for nothing.
template <int N, typename Scaling>
__device__ inline void Silence(const RowLane<N>& lane, double* kernel) {
#pragma unroll
  for (int j = 0; j < N; ++j) {
    if (!lane.active()) kernel[j] = Scaling::kNothing;
  }
}

// logits: the lane's row of the logits; row: out, its row of the matrix.
template <int N>
__device__ inline void SinkhornForward(const RowLane<N>& lane, const float* logits, int iterations,
                                       float* row) {
  double kernel[N];
  if (CentreLogits<N>(lane, logits, kernel)) {
#pragma unroll
    for (int j = 0; j < N; ++j) kernel[j] = exp(kernel[j]);
    Silence<N, LinearScaling<N>>(lane, kernel);
    ForwardScaled<N, LinearScaling<N>>(lane, kernel, iterations, row);
  } else {
    Silence<N, LogScaling<N>>(lane, kernel);
    ForwardScaled<N, LogScaling<N>>(lane, kernel, iterations, row);
  }
}

// drow: the lane's row of the matrix's gradient; dlogits: out, its row of the logits'.
template <int N>
__device__ inline void SinkhornBackward(const RowLane<N>& lane, const float* logits,
                                        const float* drow, int iterations,
                                        const SinkhornHistory& history, float* dlogits) {
  double kernel[N];
  if (CentreLogits<N>(lane, logits, kernel)) {
#pragma unroll
    for (int j = 0; j < N; ++j) kernel[j] = exp(kernel[j]);
    Silence<N, LinearScaling<N>>(lane, kernel);
    BackwardScaled<N, LinearScaling<N>>(lane, kernel, drow, iterations, history, dlogits);
  } else {
    Silence<N, LogScaling<N>>(lane, kernel);
    BackwardScaled<N, LogScaling<N>>(lane, kernel, drow, iterations, history, dlogits);
  }
}

}  // namespace birkhoff::cuda
