// Sinkhorn in scaling form: every iterate is diag(a) K diag(b) with K = exp(logits - largest), so
// an iteration is b = 1 / (K^T a), a = 1 / (K b), and its history is 2n numbers instead of 2n^2.
//
// Where the logits of a token spread so far that K or a scaling could leave the range of T, the
// token goes through the same iteration on logarithms, in double.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/mix_lanes.h"
#include "kernels/with_streams.h"

namespace birkhoff::cpu {
namespace {

// A scaling stays within exp(+-3 spread): a_i b_j K_ij <= 1, and log a and log b rise on average.
// 3 * 25 < 87 and 3 * 200 < 708, the ranges of float and double.
template <typename T>
constexpr T kLargestSpread = std::is_same_v<T, float> ? T(25) : T(200);

// ---- linear, all lanes ----------------------------------------------------------------------

// One number of every lane.  Loops over N unroll, so that arrays of these stay in registers.
template <typename T>
struct AllLanes {
  typedef T Type __attribute__((vector_size(sizeof(Lane<T>))));
};
template <typename T>
using MixVec = typename AllLanes<T>::Type;

template <typename T>
BIRKHOFF_INLINE MixVec<T> LoadLanes(const Lane<T>& lanes) {
  MixVec<T> vec;
  std::memcpy(&vec, lanes, sizeof vec);
  return vec;
}
template <typename T>
BIRKHOFF_INLINE void StoreLanes(const MixVec<T>& vec, Lane<T>& lanes) {
  std::memcpy(lanes, &vec, sizeof vec);
}

// K of the lanes' tokens; ones where a lane is out of range, which goes through logarithms.
template <int N, typename T>
struct Scaling {
  MixVec<T> kernel[N * N];
  bool linear[kMixLanes];  // whether the lane is in range
};

template <int N, typename T>
void LoadLogits(const Lane<T>* logits, Scaling<N, T>& scaling) {
  constexpr int kCount = N * N;
  MixVec<T> largest = LoadLanes<T>(logits[0]), smallest = largest;
  for (int k = 1; k < kCount; ++k) {
    const MixVec<T> logit = LoadLanes<T>(logits[k]);
    largest = largest < logit ? logit : largest;
    smallest = logit < smallest ? logit : smallest;
  }
  MixVec<T> spread = largest - smallest;
  // NaN and infinities show.
  for (int k = 0; k < kCount; ++k) spread += T(0) * LoadLanes<T>(logits[k]);
  const auto linear = spread <= kLargestSpread<T>;
  for (int lane = 0; lane < kMixLanes; ++lane) scaling.linear[lane] = linear[lane] != 0;
  for (int k = 0; k < kCount; ++k) {
    scaling.kernel[k] = linear ? LoadLanes<T>(logits[k]) - largest : MixVec<T>{};
  }
  ExpOfRow(T(0), kCount * kMixLanes, reinterpret_cast<T*>(scaling.kernel));
}

// out[j] = 1 / sum_i kernel[i * row + j * column] in[i].
template <int N, typename T>
void Rescale(const Scaling<N, T>& scaling, int row, int column, const MixVec<T>* in,
             MixVec<T>* out) {
#pragma GCC unroll 8
  for (int j = 0; j < N; ++j) {
    MixVec<T> sum = {};
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) sum += scaling.kernel[i * row + j * column] * in[i];
    out[j] = T(1) / sum;
  }
}

// One iteration: columns, then rows.
template <int N, typename T>
void Iterate(const Scaling<N, T>& scaling, MixVec<T>* b, MixVec<T>* a) {
  Rescale(scaling, N, 1, a, b);
  Rescale(scaling, 1, N, b, a);
}

template <int N, typename T>
void Ones(MixVec<T>* a) {
  for (int i = 0; i < N; ++i) a[i] = MixVec<T>{} + T(1);
}

template <int N, typename T>
BIRKHOFF_INLINE MixVec<T> Entry(const Scaling<N, T>& scaling, const MixVec<T>* a,
                                const MixVec<T>* b, int k) {
  return scaling.kernel[k] * b[k % N] * a[k / N];
}

// ---- logarithmic, one lane --------------------------------------------------------------------

// Potentials A (rows) and B (columns): the iterate is exp(logits + A_i + B_j).
struct LogScaling {
  int n;
  double logits[kMaxMixLogits];
  double a[kMaxStreams], b[kMaxStreams];
};

template <typename T>
LogScaling LoadLane(const MixShape& shape, const Lane<T>* logits, int lane) {
  LogScaling log{.n = shape.streams, .logits = {}, .a = {}, .b = {}};
  double largest = -std::numeric_limits<double>::infinity();
  for (int k = 0; k < log.n * log.n; ++k) {
    log.logits[k] = double(logits[k][lane]);
    largest = std::max(largest, log.logits[k]);
  }
  for (int k = 0; k < log.n * log.n; ++k) log.logits[k] -= largest;
  return log;
}

// out[j] = -log sum_i exp(logits[i * row + j * column] + in[i]).
void RescaleLog(const LogScaling& log, int row, int column, const double* in, double* out) {
  for (int j = 0; j < log.n; ++j) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int i = 0; i < log.n; ++i) {
      largest = std::max(largest, log.logits[i * row + j * column] + in[i]);
    }
    double sum = 0.0;
    for (int i = 0; i < log.n; ++i) {
      sum += std::exp(log.logits[i * row + j * column] + in[i] - largest);
    }
    out[j] = -(largest + std::log(sum));
  }
}

void IterateLog(LogScaling& log) {
  RescaleLog(log, log.n, 1, log.a, log.b);
  RescaleLog(log, 1, log.n, log.b, log.a);
}

double EntryLog(const LogScaling& log, const double* a, const double* b, int i, int j) {
  return std::exp(log.logits[i * log.n + j] + a[i] + b[j]);
}

// The last row step once more, by division: logarithms of a thousand carry errors of 1e-13, and the
// row sums are to be exact.
void AssembleLog(const LogScaling& log, double* matrix) {
  for (int i = 0; i < log.n; ++i) {
    double* row = matrix + i * log.n;
    double sum = 0.0;
    for (int j = 0; j < log.n; ++j) sum += row[j] = EntryLog(log, log.a, log.b, i, j);
    for (int j = 0; j < log.n; ++j) row[j] /= sum;
  }
}

// A double in two elements of T, for the history.
template <typename T>
void StoreSplit(double value, T* two) {
  two[0] = T(value);
  two[1] = T(value - double(two[0]));
}
template <typename T>
double LoadSplit(const T* two) {
  return double(two[0]) + double(two[1]);
}

template <typename T>
void ForwardLane(const MixShape& shape, const Lane<T>* logits, int lane, Lane<T>* matrix) {
  LogScaling log = LoadLane(shape, logits, lane);
  for (int t = 0; t < shape.sinkhorn_iterations; ++t) IterateLog(log);
  double out[kMaxMixLogits];
  AssembleLog(log, out);
  for (int k = 0; k < log.n * log.n; ++k) matrix[k][lane] = T(out[k]);
}

// Gradients on the way back: of the logits, and of the potentials of the step at hand.
struct LogGradient {
  double logits[kMaxMixLogits], a[kMaxStreams], b[kMaxStreams];
};

// Through A = -lse_j(logits + B): adds to dlogits and dB; with columns the same for B.
void BackRowsLog(const LogScaling& log, const double* a, const double* b, LogGradient& gradient) {
  for (int i = 0; i < log.n; ++i) {
    for (int j = 0; j < log.n; ++j) {
      const double flow = gradient.a[i] * EntryLog(log, a, b, i, j);
      gradient.logits[i * log.n + j] -= flow;
      gradient.b[j] -= flow;
    }
  }
}

void BackColumnsLog(const LogScaling& log, const double* a_before, const double* b,
                    LogGradient& gradient) {
  for (int i = 0; i < log.n; ++i) {
    gradient.a[i] = 0.0;
    for (int j = 0; j < log.n; ++j) {
      const double flow = gradient.b[j] * EntryLog(log, a_before, b, i, j);
      gradient.logits[i * log.n + j] -= flow;
      gradient.a[i] -= flow;
    }
  }
  std::fill_n(gradient.b, log.n, 0.0);
}

// The potentials of one iteration, a row of the history: 2n split doubles, B then A.
template <typename T>
void LoadHistory(const T* row, int n, double* b, double* a) {
  for (int i = 0; i < n; ++i) b[i] = LoadSplit(row + 2 * i);
  for (int i = 0; i < n; ++i) a[i] = LoadSplit(row + 2 * (n + i));
}

template <typename T>
void BackwardLane(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix, int lane,
                  Lane<T>* dlogits, T* history) {
  // Forward once more, with all potentials kept.
  LogScaling log = LoadLane(shape, logits, lane);
  const int n = log.n, row = 4 * n;
  for (int t = 0; t < shape.sinkhorn_iterations; ++t) {
    IterateLog(log);
    for (int i = 0; i < n; ++i) StoreSplit(log.b[i], history + t * row + 2 * i);
    for (int i = 0; i < n; ++i) StoreSplit(log.a[i], history + t * row + 2 * (n + i));
  }
  // Through the matrix itself, to the logits and the last potentials.
  double matrix[kMaxMixLogits] = {};
  AssembleLog(log, matrix);
  LogGradient gradient = {};
  for (int k = 0; k < n * n; ++k) {
    gradient.logits[k] = double(dmatrix[k][lane]) * matrix[k];
    gradient.a[k / n] += gradient.logits[k];
    gradient.b[k % n] += gradient.logits[k];
  }
  // Through the iterations, the last one first; the first began with A = 0.
  double a[kMaxStreams], b[kMaxStreams], a_before[kMaxStreams], ignored[kMaxStreams];
  for (int t = shape.sinkhorn_iterations - 1; t >= 0; --t) {
    LoadHistory(history + t * row, n, b, a);
    std::fill_n(a_before, n, 0.0);
    if (t > 0) LoadHistory(history + (t - 1) * row, n, ignored, a_before);
    BackRowsLog(log, a, b, gradient);
    BackColumnsLog(log, a_before, b, gradient);
  }
  for (int k = 0; k < n * n; ++k) dlogits[k][lane] = T(gradient.logits[k]);
}

// ---- linear, backward ---------------------------------------------------------------------------

template <int N, typename T>
struct Gradient {
  MixVec<T> logits[N * N], a[N], b[N];
};

template <int N, typename T>
void BackRows(const Scaling<N, T>& scaling, const MixVec<T>* a, const MixVec<T>* b,
              Gradient<N, T>& gradient) {
#pragma GCC unroll 64
  for (int k = 0; k < N * N; ++k) {
    const MixVec<T> flow = gradient.a[k / N] * Entry(scaling, a, b, k);
    gradient.logits[k] -= flow;
    gradient.b[k % N] -= flow;
  }
}

template <int N, typename T>
void BackColumns(const Scaling<N, T>& scaling, const MixVec<T>* a_before, const MixVec<T>* b,
                 Gradient<N, T>& gradient) {
  for (int i = 0; i < N; ++i) gradient.a[i] = MixVec<T>{};
#pragma GCC unroll 64
  for (int k = 0; k < N * N; ++k) {
    const MixVec<T> flow = gradient.b[k % N] * Entry(scaling, a_before, b, k);
    gradient.logits[k] -= flow;
    gradient.a[k / N] -= flow;
  }
  for (int j = 0; j < N; ++j) gradient.b[j] = MixVec<T>{};
}

// dlogits, dA and dB of matrix = exp(logits + A_i + B_j), given dmatrix; `gradient` starts at zero.
template <int N, typename T>
void StartBack(const Scaling<N, T>& scaling, const MixVec<T>* a, const MixVec<T>* b,
               const Lane<T>* dmatrix, Gradient<N, T>& gradient) {
  for (int k = 0; k < N * N; ++k) {
    const MixVec<T> flow = LoadLanes<T>(dmatrix[k]) * Entry(scaling, a, b, k);
    gradient.logits[k] = flow;
    gradient.a[k / N] += flow;
    gradient.b[k % N] += flow;
  }
}

// The scalings of every iteration: b, then a.
template <int N, typename T>
struct History {
  Lane<T>* rows;
  void Put(int t, const MixVec<T>* b, const MixVec<T>* a) const {
    for (int i = 0; i < N; ++i) StoreLanes<T>(b[i], rows[t * 2 * N + i]);
    for (int i = 0; i < N; ++i) StoreLanes<T>(a[i], rows[t * 2 * N + N + i]);
  }
  void GetB(int t, MixVec<T>* b) const {
    for (int i = 0; i < N; ++i) b[i] = LoadLanes<T>(rows[t * 2 * N + i]);
  }
  void GetA(int t, MixVec<T>* a) const {  // ones before the first
    if (t < 0) return Ones<N, T>(a);
    for (int i = 0; i < N; ++i) a[i] = LoadLanes<T>(rows[t * 2 * N + N + i]);
  }
};

template <int N, typename T>
void BackwardLinear(int iterations, const Scaling<N, T>& scaling, const Lane<T>* dmatrix,
                    History<N, T> history, Lane<T>* dlogits) {
  // Forward once more, with all scalings kept.
  MixVec<T> a[N], b[N];
  Ones<N, T>(a);
  Ones<N, T>(b);
  for (int t = 0; t < iterations; ++t) {
    Iterate(scaling, b, a);
    history.Put(t, b, a);
  }
  // Through the matrix, then through the iterations, the last one first.
  Gradient<N, T> gradient = {};
  StartBack(scaling, a, b, dmatrix, gradient);
  for (int t = iterations - 1; t >= 0; --t) {
    history.GetB(t, b);
    BackRows(scaling, a, b, gradient);
    history.GetA(t - 1, a);
    BackColumns(scaling, a, b, gradient);
  }
  for (int k = 0; k < N * N; ++k) StoreLanes<T>(gradient.logits[k], dlogits[k]);
}

// ---- both ---------------------------------------------------------------------------------------

template <int N, typename T>
void Forward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
  Scaling<N, T> scaling;
  OnBestIsa<T>([&] {
    LoadLogits(logits, scaling);
    MixVec<T> a[N], b[N];
    Ones<N, T>(a);
    Ones<N, T>(b);
    for (int t = 0; t < shape.sinkhorn_iterations; ++t) Iterate(scaling, b, a);
    for (int k = 0; k < N * N; ++k) StoreLanes<T>(Entry(scaling, a, b, k), matrix[k]);
  });
  for (int lane = 0; lane < kMixLanes; ++lane) {
    if (!scaling.linear[lane]) ForwardLane(shape, logits, lane, matrix);
  }
}

template <int N, typename T>
void Backward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
              Lane<T>* dlogits, T* workspace) {
  Scaling<N, T> scaling;
  OnBestIsa<T>([&] {
    LoadLogits(logits, scaling);
    BackwardLinear(shape.sinkhorn_iterations, scaling, dmatrix,
                   History<N, T>{reinterpret_cast<Lane<T>*>(workspace)}, dlogits);
  });
  for (int lane = 0; lane < kMixLanes; ++lane) {
    if (!scaling.linear[lane]) BackwardLane(shape, logits, dmatrix, lane, dlogits, workspace);
  }
}

}  // namespace

template <typename T>
void SinkhornLanesForward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix) {
  WithStreams(shape.streams, [&](auto n) { Forward<n()>(shape, logits, matrix); });
}

template <typename T>
void SinkhornLanesBackward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                           Lane<T>* dlogits, T* workspace) {
  WithStreams(shape.streams,
              [&](auto n) { Backward<n()>(shape, logits, dmatrix, dlogits, workspace); });
}

template void SinkhornLanesForward(const MixShape&, const Lane<float>*, Lane<float>*);
template void SinkhornLanesForward(const MixShape&, const Lane<double>*, Lane<double>*);
template void SinkhornLanesBackward(const MixShape&, const Lane<float>*, const Lane<float>*,
                                    Lane<float>*, float*);
template void SinkhornLanesBackward(const MixShape&, const Lane<double>*, const Lane<double>*,
                                    Lane<double>*, double*);

}  // namespace birkhoff::cpu
