// Random numbers whose bits other files depend on: values are pinned, shapes are checked.
#include "core/base/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace birkhoff {
namespace {

TEST(RngTest, KeepsItsBitsForEver) {
  Rng rng(0);
  EXPECT_EQ(rng.Next(), 0xe220a8397b1dcdafULL);  // splitmix64's published first value of seed 0
  EXPECT_EQ(rng.Next(), 0x6e789e6aa1b965f4ULL);
  EXPECT_EQ(StableHash(""), 0xcbf29ce484222325ULL);  // FNV-1a's published values
  EXPECT_EQ(StableHash("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(StableHash("foobar"), 0x85944171f73967e8ULL);
}

TEST(RngTest, GivesEachNameItsOwnSequence) {
  EXPECT_EQ(Rng(7, "a").Next(), Rng(7, "a").Next());
  EXPECT_NE(Rng(7, "a").Next(), Rng(7, "b").Next());
  EXPECT_NE(Rng(7, "a").Next(), Rng(8, "a").Next());
}

TEST(RngTest, SkipsAsManyDrawsAsIfTheyWereMade) {
  Rng drawn(7, "weights"), skipped(7, "weights");
  for (int i = 0; i < 1000; ++i) drawn.Next();
  skipped.Skip(1000);
  EXPECT_EQ(skipped.Next(), drawn.Next());
}

TEST(RngTest, DrawsEveryValueBelowALimitEquallyOften) {
  Rng rng(1);
  constexpr int kLimit = 7, kDraws = 70000;
  std::vector<int> counts(kLimit);
  for (int i = 0; i < kDraws; ++i) ++counts.at(rng.Below(kLimit));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000.0));  // 5 sigma
  for (int i = 0; i < 100; ++i) EXPECT_EQ(rng.Below(1), 0u);
}

TEST(RngTest, DrawsUniformNumbersInTheirRange) {
  Rng rng(2);
  constexpr int kDraws = 100000;
  double sum = 0.0, smallest = 1.0, largest = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.Uniform();
    sum += value;
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
  }
  EXPECT_GE(smallest, 0.0);
  EXPECT_LT(largest, 1.0);
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
}

TEST(RngTest, DrawsNormalNumbersOfMeanZeroAndVarianceOne) {
  Rng rng(3);
  constexpr int kDraws = 100000;
  double sum = 0.0, squares = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double value = rng.Normal();
    ASSERT_TRUE(std::isfinite(value));
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 5 / std::sqrt(1.0 * kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0, 5 * std::sqrt(2.0 / kDraws));
}

}  // namespace
}  // namespace birkhoff
