// Vectors of a fixed number of elements, whatever the registers: 16 floats (one register of
// AVX-512, two of AVX2, four of SSE2) or 2 doubles, so that sums have one order on every processor.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace birkhoff::cpu {

// Vectors pass between functions in registers only where nobody calls.
#define BIRKHOFF_INLINE __attribute__((always_inline)) inline

template <typename T>
struct Simd;
template <>
struct Simd<float> {
  typedef float Vec __attribute__((vector_size(64)));
  typedef int32_t Bits __attribute__((vector_size(64)));
  typedef double Doubles __attribute__((vector_size(128)));
};
template <>
struct Simd<double> {
  typedef double Vec __attribute__((vector_size(16)));
  typedef Vec Doubles;
};

template <typename T>
using Vec = typename Simd<T>::Vec;
template <typename T>
using Doubles = typename Simd<T>::Doubles;  // as many lanes
template <typename T>
inline constexpr int kLanes = sizeof(Vec<T>) / sizeof(T);

template <typename T>
BIRKHOFF_INLINE Vec<T> Load(const T* from) {
  Vec<T> vec;
  std::memcpy(&vec, from, sizeof vec);
  return vec;
}
template <typename T>
BIRKHOFF_INLINE void Store(Vec<T> vec, T* to) {
  std::memcpy(to, &vec, sizeof vec);
}

// Halves are added until one lane is left: the additions do not wait for each other.
BIRKHOFF_INLINE float SumOfLanes(Vec<float> vec) {
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  Half halves[2];
  std::memcpy(halves, &vec, sizeof vec);
  const Half half = halves[0] + halves[1];
  Quarter quarters[2];
  std::memcpy(quarters, &half, sizeof half);
  const Quarter quarter = quarters[0] + quarters[1];
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}
BIRKHOFF_INLINE double SumOfLanes(Vec<double> vec) { return vec[0] + vec[1]; }

// e^x.  Of floats: by Cephes' polynomial after taking off n log 2; within a unit in the last place,
// 0 below the smallest normal number, infinite above the largest, NaN for NaN.
BIRKHOFF_INLINE Vec<float> Exp(Vec<float> x) {
  using Bits = Simd<float>::Bits;
  constexpr float kLog2E = 1.44269504f, kLog2High = 0.693359375f, kLog2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: its last bits count units
  const Vec<float> shifted = x * kLog2E + kRound;
  const Vec<float> n = shifted - kRound;
  const Vec<float> f = (x - n * kLog2High) - n * kLog2Low;
  Vec<float> p = f * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  p = p * (f * f) + f + 1.0f;
  const Bits scaled = Bits(p) + (Bits(shifted) << 23);
  const Vec<float> infinite = Vec<float>{} + std::numeric_limits<float>::infinity();
  Vec<float> out = x < -87.3365402f ? Vec<float>{} : Vec<float>(scaled);
  out = x > 88.7228317f ? infinite : out;
  return x == x ? out : x;
}
BIRKHOFF_INLINE Vec<double> Exp(Vec<double> x) {
  for (int k = 0; k < kLanes<double>; ++k) x[k] = std::exp(x[k]);
  return x;
}

// Up to kLanes neighbours in a row, from element `first` on.
template <typename T>
struct LanesAt {
  int64_t first;
  int64_t count;

  // Lanes behind the last are zeros.
  BIRKHOFF_INLINE Vec<T> Of(const T* row) const {
    if (count == kLanes<T>) return Load(row + first);
    Vec<T> vec = {};
    std::memcpy(&vec, row + first, size_t(count) * sizeof(T));
    return vec;
  }
  BIRKHOFF_INLINE void Put(Vec<T> vec, T* row) const {
    if (count == kLanes<T>) return Store(vec, row + first);
    std::memcpy(row + first, &vec, size_t(count) * sizeof(T));
  }
};

// work(LanesAt) along the elements [first, end) of a row.
template <typename T, typename Work>
inline void ForLanesOf(int64_t end, int64_t first, const Work& work) {
  int64_t c = first;
  for (; c + kLanes<T> <= end; c += kLanes<T>) work(LanesAt<T>{c, kLanes<T>});
  if (c < end) work(LanesAt<T>{c, end - c});
}
template <typename T, typename Work>
inline void ForLanesOf(int64_t end, const Work& work) {
  ForLanesOf<T>(end, 0, work);
}

// row = e^(row - shift).
template <typename T>
inline void ExpOfRow(T shift, int64_t count, T* row) {
  ForLanesOf<T>(count, [&](LanesAt<T> at) { at.Put(Exp(at.Of(row) - shift), row); });
}

}  // namespace birkhoff::cpu
