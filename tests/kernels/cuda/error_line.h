// The comparison of a GPU's results with a reference: each error in units of its own tolerance,
// which the test derives, and one printed line for all of them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/cuda/device_buffer.h"

namespace birkhoff {

// Half a unit in the last place of 1: the relative error of one rounding to T.
template <typename T>
inline constexpr double kRoundoff = 0x1p-24;
template <>
inline constexpr double kRoundoff<bf16> = 0x1p-8;

// What `values` become when T holds them.
template <typename T>
std::vector<float> Rounded(const std::vector<float>& values) {
  return Widen(Narrow<T>(values));
}

template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Prints and checks at its end.  A NaN is as wrong as can be, on either side.
class ErrorLine {
 public:
  explicit ErrorLine(std::string what) : what_(std::move(what)) {}
  ~ErrorLine() {
    std::printf("%-60s worst %.3g limit %.3g\n", what_.c_str(), worst_, 1.0);
    EXPECT_LE(worst_, 1.0) << what_ << ": number " << index_ << " is " << got_ << ", need " << want_
                           << " within " << tolerance_;
  }
  ErrorLine(const ErrorLine&) = delete;
  ErrorLine& operator=(const ErrorLine&) = delete;

  void Add(double got, double want, double tolerance) {
    const double error = got == want ? 0.0 : std::abs(got - want) / tolerance;
    if (!(error <= worst_) && !std::isnan(worst_)) {
      worst_ = error, index_ = count_, got_ = got, want_ = want, tolerance_ = tolerance;
    }
    ++count_;
  }

 private:
  const std::string what_;
  double worst_ = 0.0, got_ = 0.0, want_ = 0.0, tolerance_ = 0.0;
  int64_t count_ = 0, index_ = 0;
};

}  // namespace birkhoff
