// Gains on the CPU: row and column sums of one matrix after the other, in double.
#include "kernels/gain.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/cpu/isa.h"
#include "kernels/with_streams.h"

namespace birkhoff::cpu {
namespace {

// max, but a NaN stays.
double Largest(double so_far, double value) {
  return value > so_far || std::isnan(value) ? value : so_far;
}

template <int N, typename T>
void AddMatrix(const T* matrix, GainSums& sums, double* total) {
  // Sums of rows and columns.
  double rows[N] = {}, columns[N] = {};
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) {
      const double entry = double(matrix[i * N + j]);
      rows[i] += entry;
      columns[j] += entry;
      if (total != nullptr) total[i * N + j] += entry;
    }
  }
  // Their largest sizes and smallest values.
  double forward = 0.0, backward = 0.0;
  for (int i = 0; i < N; ++i) {
    forward = Largest(forward, std::abs(rows[i]));
    backward = Largest(backward, std::abs(columns[i]));
    sums.row_sum_min = std::min(sums.row_sum_min, rows[i]);
    sums.column_sum_min = std::min(sums.column_sum_min, columns[i]);
  }
  sums.forward += forward;
  sums.backward += backward;
}

}  // namespace

template <typename T>
absl::Status AccumulateGain(const GainArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  GainSums sums;
  WithStreams(args.streams, [&](auto n) {
    OnBestIsa<T>([&] {
      for (int64_t t = 0; t < args.tokens; ++t) {
        AddMatrix<n()>(args.matrices + t * args.stride, sums, args.matrix);
      }
    });
  });
  args.sums->forward += sums.forward;
  args.sums->backward += sums.backward;
  args.sums->row_sum_min = std::min(args.sums->row_sum_min, sums.row_sum_min);
  args.sums->column_sum_min = std::min(args.sums->column_sum_min, sums.column_sum_min);
  return absl::OkStatus();
}

template absl::Status AccumulateGain(const GainArgs<float>&);
template absl::Status AccumulateGain(const GainArgs<double>&);

}  // namespace birkhoff::cpu
