// Reductions of rows in a fixed order: two vectors of running sums (lanes.h), whatever the
// processor.
#pragma once

#include <cstdint>

#include "kernels/cpu/lanes.h"

namespace birkhoff::cpu {

// out[m] = a . b[m] for m < M; one pass over a.
template <int M, typename T>
inline void DotMany(const T* a, const T* const* b, int64_t count, T* out) {
  constexpr int kWidth = kLanes<T>;
  Vec<T> low[M] = {}, high[M] = {};
  int64_t c = 0;
  for (; c + 2 * kWidth <= count; c += 2 * kWidth) {
    const Vec<T> a_low = Load(a + c), a_high = Load(a + c + kWidth);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      low[m] += a_low * Load(b[m] + c);
      high[m] += a_high * Load(b[m] + c + kWidth);
    }
  }
  ForLanesOf<T>(count, c, [&](LanesAt<T> at) {
    for (int m = 0; m < M; ++m) low[m] += at.Of(a) * at.Of(b[m]);
  });
  for (int m = 0; m < M; ++m) out[m] = SumOfLanes(low[m] + high[m]);
}

// Sum of a row.
template <typename T>
inline T Total(const T* row, int64_t count) {
  constexpr int kWidth = kLanes<T>;
  Vec<T> low = {}, high = {};
  int64_t c = 0;
  for (; c + 2 * kWidth <= count; c += 2 * kWidth) {
    low += Load(row + c);
    high += Load(row + c + kWidth);
  }
  ForLanesOf<T>(count, c, [&](LanesAt<T> at) { low += at.Of(row); });
  return SumOfLanes(low + high);
}

// Largest of a row of at least one; NaNs are passed over.
template <typename T>
inline T Largest(const T* row, int64_t count) {
  constexpr int kWidth = kLanes<T>;
  T largest = row[0];
  int64_t c = 0;
  if (count >= kWidth) {
    Vec<T> lanes = Load(row);
    for (c = kWidth; c + kWidth <= count; c += kWidth) {
      const Vec<T> next = Load(row + c);
      lanes = next > lanes ? next : lanes;
    }
    for (int k = 0; k < kWidth; ++k) largest = lanes[k] > largest ? lanes[k] : largest;
  }
  for (; c < count; ++c) largest = row[c] > largest ? row[c] : largest;
  return largest;
}

template <typename T>
inline T Dot(const T* a, const T* b, int64_t count) {
  T sum;
  DotMany<1>(a, &b, count, &sum);
  return sum;
}

}  // namespace birkhoff::cpu
