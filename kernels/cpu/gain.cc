#include "kernels/gain.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"

namespace birkhoff::cpu {
namespace {

// max, but a NaN stays.
double Largest(double so_far, double value) {
  return value > so_far || std::isnan(value) ? value : so_far;
}

template <typename T>
void AddMatrix(const T* matrix, int n, GainSums& sums) {
  double rows[8] = {}, columns[8] = {};
  for (int k = 0; k < n * n; ++k) {
    const double entry = double(matrix[k]);
    rows[k / n] += entry;
    columns[k % n] += entry;
    if (sums.matrix != nullptr) sums.matrix[k] += entry;
  }
  double forward = 0.0, backward = 0.0;
  for (int i = 0; i < n; ++i) {
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
absl::Status AccumulateGain(const GainArgs<T>& args, GainSums& sums) {
  RETURN_IF_ERROR(Validate(args));
  for (int64_t t = 0; t < args.tokens; ++t) {
    AddMatrix(args.matrices + t * args.stride, args.streams, sums);
  }
  return absl::OkStatus();
}

template absl::Status AccumulateGain(const GainArgs<float>&, GainSums&);
template absl::Status AccumulateGain(const GainArgs<double>&, GainSums&);

}  // namespace birkhoff::cpu
