// Random tensors and gradient comparison for the kernel tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/base/rng.h"
#include "tests/testing/figure.h"

namespace birkhoff {

// N(mean, scale^2), the same numbers for float and double up to rounding.
template <typename T = double>
std::vector<T> Normal(int64_t count, uint64_t seed, double scale = 1.0, double mean = 0.0) {
  Rng rng(seed);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(mean + scale * rng.Normal());
  return values;
}

template <typename T>
double Inner(const std::vector<T>& a, const std::vector<T>& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

template <typename T>
double LargestAbs(const std::vector<T>& values) {
  double largest = 0.0;
  for (const T value : values) largest = std::max(largest, std::abs(double(value)));
  return largest;
}

// max |got - want| / max |want|.
template <typename T, typename U>
double RelativeError(const std::vector<T>& got, const std::vector<U>& want) {
  double worst = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(double(got[i]) - double(want[i]));
    if (!(difference <= worst)) worst = difference;  // a NaN stays
  }
  return worst / LargestAbs(want);
}

// The analytic `gradient` of `loss` with respect to `values` against central differences.  Fails
// where the gradient is too small for the comparison to show anything.
inline void ExpectGradient(const std::string& name, std::vector<double>& values,
                           const std::vector<double>& gradient, const std::function<double()>& loss,
                           double step = 1e-5) {
  ASSERT_EQ(values.size(), gradient.size()) << name;
  if (values.empty()) return;  // of a mapping without this parameter
  ASSERT_GT(LargestAbs(gradient), 1e-6) << name << ": this gradient vanishes here";
  std::vector<double> numeric(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const double kept = values[i];
    values[i] = kept + step;
    const double above = loss();
    values[i] = kept - step;
    const double below = loss();
    values[i] = kept;
    numeric[i] = (above - below) / (2.0 * step);
  }
  const double error = RelativeError(gradient, numeric);
  EXPECT_LE(error, 1e-6) << name;
  Worst("float64 gradients of kernels against central differences", error);
}

#define ASSERT_OK(expression)                     \
  do {                                            \
    const absl::Status status_ok_ = (expression); \
    ASSERT_TRUE(status_ok_.ok()) << status_ok_;   \
  } while (false)

// The whole message of a refusal.
inline void ExpectRefused(const absl::Status& status, const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(status.message(), message);
}

}  // namespace birkhoff
