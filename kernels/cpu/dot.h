// Reductions of rows in a fixed order: eight (float) or four (double) running sums, which map onto
// vector registers and give the same bits on every x86-64 machine.
#pragma once

#include <cstdint>
#include <cstring>

namespace birkhoff::cpu {

template <typename T>
struct Simd {
  static constexpr int kWidth = 16 / sizeof(T);
  typedef T Vec __attribute__((vector_size(16)));
  static Vec Load(const T* from) {
    Vec vec;
    std::memcpy(&vec, from, sizeof vec);
    return vec;
  }
  static T Sum(Vec low, Vec high) {
    const Vec both = low + high;
    T sum = 0;
    for (int k = 0; k < kWidth; ++k) sum += both[k];
    return sum;
  }
};

// out[m] = a . b[m] for m < M; one pass over a.
template <int M, typename T>
inline void DotMany(const T* a, const T* const* b, int64_t count, T* out) {
  using S = Simd<T>;
  typename S::Vec low[M] = {}, high[M] = {};
  int64_t c = 0;
  for (; c + 2 * S::kWidth <= count; c += 2 * S::kWidth) {
    const auto a_low = S::Load(a + c), a_high = S::Load(a + c + S::kWidth);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      low[m] += a_low * S::Load(b[m] + c);
      high[m] += a_high * S::Load(b[m] + c + S::kWidth);
    }
  }
  for (int m = 0; m < M; ++m) {
    out[m] = S::Sum(low[m], high[m]);
    for (int64_t rest = c; rest < count; ++rest) out[m] += a[rest] * b[m][rest];
  }
}

// Sum of a row.
template <typename T>
inline T Total(const T* row, int64_t count) {
  using S = Simd<T>;
  typename S::Vec low = {}, high = {};
  int64_t c = 0;
  for (; c + 2 * S::kWidth <= count; c += 2 * S::kWidth) {
    low += S::Load(row + c);
    high += S::Load(row + c + S::kWidth);
  }
  T sum = S::Sum(low, high);
  for (; c < count; ++c) sum += row[c];
  return sum;
}

// Largest of a row of at least one; NaNs are passed over.
template <typename T>
inline T Largest(const T* row, int64_t count) {
  using S = Simd<T>;
  T largest = row[0];
  int64_t c = 0;
  if (count >= S::kWidth) {
    typename S::Vec lanes = S::Load(row);
    for (c = S::kWidth; c + S::kWidth <= count; c += S::kWidth) {
      const auto next = S::Load(row + c);
      lanes = next > lanes ? next : lanes;
    }
    for (int k = 0; k < S::kWidth; ++k) largest = lanes[k] > largest ? lanes[k] : largest;
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
