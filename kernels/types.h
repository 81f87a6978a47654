// Element types of the kernels.  An op is typed by T, the type of streams and activations; what
// must not lose bits (coefficients, accumulators, norms, parameters outside of products, gradients)
// is ScalarOf<T>:
//
//   T       ScalarOf<T>   where
//   float   float         CPU training; training.precision: fp32 on a GPU
//   double  double        the reference
//   bf16    float         training.precision: bf16 on a GPU
#pragma once

#include <bit>
#include <cstdint>

#include "core/base/dtype.h"

namespace birkhoff {

// The upper half of a float; the same 16 bits as CUDA's __nv_bfloat16.
struct bf16 {
  uint16_t bits;
};

// To nearest, ties to even; a NaN stays a NaN.
inline bf16 ToBf16(float value) {
  const uint32_t word = std::bit_cast<uint32_t>(value);
  if ((word & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((word >> 16) | 0x40u)};
  return {static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16)};
}
inline float ToFloat(bf16 value) { return std::bit_cast<float>(uint32_t{value.bits} << 16); }

template <typename T>
struct ScalarOfType {
  using Type = T;
};
template <>
struct ScalarOfType<bf16> {
  using Type = float;
};
template <typename T>
using ScalarOf = typename ScalarOfType<T>::Type;

template <typename T>
inline constexpr DType kDTypeOf = DType::kFloat32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kFloat64;
template <>
inline constexpr DType kDTypeOf<bf16> = DType::kBfloat16;
template <>
inline constexpr DType kDTypeOf<int32_t> = DType::kInt32;

}  // namespace birkhoff
