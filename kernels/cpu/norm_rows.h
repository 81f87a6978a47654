// RMSNorm of single rows, as the boundary uses it.  Source: arXiv 1910.07467 eq. 4.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cpu/dot.h"

namespace birkhoff::cpu {

// 1 / sqrt(mean(row^2) + eps).
template <typename T>
T InverseRms(const T* row, int64_t count, double eps) {
  return T(1) / std::sqrt(Dot(row, row, count) / T(count) + T(eps));
}

// row = gamma row inverse, in place.
template <typename T>
void NormRow(const T* gamma, T inverse, int64_t count, T* row) {
  for (int64_t c = 0; c < count; ++c) row[c] = row[c] * inverse * gamma[c];
}

// In place: row becomes d loss / d row, given dout of NormRow; dgamma is added to.
template <typename T>
void NormRowBackward(const T* gamma, const T* dout, T inverse, int64_t count, T* row, T* dgamma) {
  // The normalised row.
  for (int64_t c = 0; c < count; ++c) row[c] *= inverse;
  // mean(gamma dout row), in the order of Dot.
  T mean = 0;
  {
    constexpr int kWidth = kLanes<T>;
    Vec<T> low = {}, high = {};
    int64_t c = 0;
    for (; c + 2 * kWidth <= count; c += 2 * kWidth) {
      low += Load(gamma + c) * Load(dout + c) * Load(row + c);
      const int64_t next = c + kWidth;
      high += Load(gamma + next) * Load(dout + next) * Load(row + next);
    }
    ForLanesOf<T>(count, c, [&](LanesAt<T> at) { low += at.Of(gamma) * at.Of(dout) * at.Of(row); });
    mean = SumOfLanes(low + high);
    mean /= T(count);
  }
  // The gradient, less its part along the row.
  for (int64_t c = 0; c < count; ++c) {
    dgamma[c] += dout[c] * row[c];
    row[c] = inverse * (gamma[c] * dout[c] - row[c] * mean);
  }
}

}  // namespace birkhoff::cpu
