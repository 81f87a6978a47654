// The logistic function; no overflow turns into NaN: exp(-x) may be infinite.
#pragma once

#include <cmath>

namespace birkhoff::cpu {

template <typename T>
inline T Sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

}  // namespace birkhoff::cpu
