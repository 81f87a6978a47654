// Whole numbers rounded up: into how many parts something is cut, and how long a padded row is.
#pragma once

#include <type_traits>

namespace birkhoff {

// The smallest number that is no less than value / unit; value >= 0, unit > 0.
template <typename Integer>
constexpr Integer CeilDivide(Integer value, std::type_identity_t<Integer> unit) {
  return (value + unit - 1) / unit;
}

// The smallest multiple of `unit` that is no less than `value`; likewise.
template <typename Integer>
constexpr Integer RoundUp(Integer value, std::type_identity_t<Integer> unit) {
  return CeilDivide(value, unit) * unit;
}

}  // namespace birkhoff
