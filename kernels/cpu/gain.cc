// Gains on the CPU: row and column sums of one matrix after the other, in double.
#include "kernels/gain.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "core/base/status_macros.h"
#include "kernels/cpu/isa.h"
#include "kernels/with_streams.h"

namespace birkhoff::cpu {
namespace {

// The largest size of N numbers, and NaN if there is one: as integers, bits of positive numbers
// have the order of the numbers, and those of NaN are above all.
template <int N>
double LargestSize(const double* values) {
  uint64_t largest = 0;
  for (int i = 0; i < N; ++i) {
    largest = std::max(largest, std::bit_cast<uint64_t>(std::abs(values[i])));
  }
  return std::bit_cast<double>(largest);
}

template <int N, typename T>
void AddMatrix(const T* matrix, GainSums& sums, double* total) {
  // Sums of rows and columns.  Innermost are neighbours of the sums: their loops vectorise.
  double entries[N * N], rows[N] = {}, columns[N] = {};
  for (int k = 0; k < N * N; ++k) entries[k] = double(matrix[k]);
  for (int i = 0; i < N; ++i) {
    for (int j = 0; j < N; ++j) columns[j] += entries[i * N + j];
  }
  for (int j = 0; j < N; ++j) {
    for (int i = 0; i < N; ++i) rows[i] += entries[i * N + j];
  }
  for (int k = 0; k < N * N && total != nullptr; ++k) total[k] += entries[k];
  sums.forward += LargestSize<N>(rows);
  sums.backward += LargestSize<N>(columns);
  for (int i = 0; i < N; ++i) {
    sums.row_sum_min = std::min(sums.row_sum_min, rows[i]);
    sums.column_sum_min = std::min(sums.column_sum_min, columns[i]);
  }
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
