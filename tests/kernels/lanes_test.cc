// e^x by vectors beside that of the double library, and sums in lanes beside exact ones.
#include "kernels/cpu/lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/dot.h"
#include "tests/testing/figure.h"

namespace birkhoff::cpu {
namespace {

float ExpOf(float x) {
  float row[1] = {x};
  ExpOfRow(0.0f, 1, row);
  return row[0];
}

TEST(LanesTest, ExpIsWithinAUnitInTheLastPlace) {
  double worst = 0.0;
  for (float x = -87.3f; x < 88.7f; x += 0.00173f) {
    const double exact = std::exp(double(x));
    const double unit = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::abs(double(ExpOf(x)) - exact) / unit);
  }
  Worst("e^x in float, units in the last place", worst);
  EXPECT_LE(worst, 1.0);
}

TEST(LanesTest, ExpKnowsItsEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(ExpOf(0.0f), 1.0f);
  EXPECT_EQ(ExpOf(-0.0f), 1.0f);
  EXPECT_EQ(ExpOf(-kInfinity), 0.0f);
  EXPECT_EQ(ExpOf(-1e30f), 0.0f);
  EXPECT_EQ(ExpOf(-87.4f), 0.0f);
  EXPECT_EQ(ExpOf(kInfinity), kInfinity);
  EXPECT_EQ(ExpOf(88.8f), kInfinity);
  EXPECT_LT(ExpOf(88.72f), kInfinity);
  EXPECT_GT(ExpOf(-87.3f), 0.0f);
  EXPECT_TRUE(std::isnan(ExpOf(std::nanf(""))));
}

TEST(LanesTest, SumsAndLargestOfEveryLength) {
  std::vector<float> row(100);
  for (size_t i = 0; i < row.size(); ++i) row[i] = float(int(i * 37 % 101) - 50);
  for (int64_t count = 1; count <= 100; ++count) {
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < count; ++i) {
      sum += double(row[size_t(i)]);
      squares += double(row[size_t(i)]) * double(row[size_t(i)]);
    }
    EXPECT_EQ(Total(row.data(), count), float(sum)) << count;  // small integers: exact
    EXPECT_EQ(Dot(row.data(), row.data(), count), float(squares)) << count;
    EXPECT_EQ(Largest(row.data(), count), *std::max_element(row.begin(), row.begin() + count));
  }
}

}  // namespace
}  // namespace birkhoff::cpu
