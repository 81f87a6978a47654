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
    using S = Simd<T>;
    typename S::Vec low = {}, high = {};
    int64_t c = 0;
    for (; c + 2 * S::kWidth <= count; c += 2 * S::kWidth) {
      low += S::Load(gamma + c) * S::Load(dout + c) * S::Load(row + c);
      const int64_t next = c + S::kWidth;
      high += S::Load(gamma + next) * S::Load(dout + next) * S::Load(row + next);
    }
    mean = S::Sum(low, high);
    for (; c < count; ++c) mean += gamma[c] * dout[c] * row[c];
    mean /= T(count);
  }
  // The gradient, less its part along the row.
  for (int64_t c = 0; c < count; ++c) {
    dgamma[c] += dout[c] * row[c];
    row[c] = inverse * (gamma[c] * dout[c] - row[c] * mean);
  }
}

}  // namespace birkhoff::cpu
