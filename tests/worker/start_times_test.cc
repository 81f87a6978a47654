// The line by hand.
#include "worker/start_times.h"

#include <gtest/gtest.h>

namespace birkhoff {
namespace {

TEST(StartTimes, NamesWhatEachPhaseTook) {
  StartTimes times;
  EXPECT_EQ(times.Describe({1}), "");
  const Instant began{5'000'000'000};
  times.Begin("model", began);
  EXPECT_EQ(times.Describe(began + absl::Seconds(2)), "first step after 2.0 s: model 2.0");
  times.Begin("data", began + absl::Milliseconds(3420));
  times.Begin("first step", began + absl::Milliseconds(3510));
  EXPECT_EQ(times.Describe(began + absl::Milliseconds(9100)),
            "first step after 9.1 s: model 3.4, data 0.1, first step 5.6");
}

}  // namespace
}  // namespace birkhoff
