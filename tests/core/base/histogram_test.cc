// Which bucket a value counts in, and what is added up.
#include "core/base/histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

TEST(Histogram, AValueCountsInTheFirstBucketThatHoldsIt) {
  static constexpr double kBounds[] = {1.0, 10.0};
  Histogram histogram(kBounds);
  for (const double value : {0.5, 1.0, 1.5, 10.0, 11.0, 12.0}) histogram.Observe(value);
  EXPECT_THAT(histogram.counts(), ElementsAre(2, 2, 2)) << "a bound belongs to its bucket";
  EXPECT_EQ(histogram.count(), 6u);
  EXPECT_DOUBLE_EQ(histogram.sum(), 36.0);
}

}  // namespace
}  // namespace birkhoff
