// Who gets workers next.
#include "coordinator/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

const std::vector<IdleWorker> kTwoCpus = {{"w0", "cpu"}, {"w1", "cpu"}};

TEST(Queue, TakesTheHigherPriorityThenTheOlderJob) {
  EXPECT_EQ(NextPlacement({{"old", 0, 1, 1}, {"new", 0, 2, 1}}, kTwoCpus)->job, "old");
  EXPECT_EQ(NextPlacement({{"old", 0, 1, 1}, {"urgent", 5, 2, 1}}, kTwoCpus)->job, "urgent");
}

TEST(Queue, DoesNotLetASmallJobOvertakeALargeOne) {
  EXPECT_FALSE(NextPlacement({{"large", 0, 1, 3}, {"small", 0, 2, 1}}, kTwoCpus).has_value());
  EXPECT_FALSE(
      NextPlacement({{"waits", 0, 1, 2, false}, {"small", 0, 2, 1}}, kTwoCpus).has_value());
}

TEST(Queue, GivesAJobWorkersOfOneDevice) {
  const std::vector<IdleWorker> mixed = {{"w0", "cpu"}, {"w1", "cuda"}, {"w2", "cpu"}};
  const auto two = NextPlacement({{"job", 0, 1, 2}}, mixed);
  ASSERT_TRUE(two.has_value());
  EXPECT_THAT(two->workers, ElementsAre("w0", "w2"));
  EXPECT_THAT(NextPlacement({{"job", 0, 1, 1}}, mixed)->workers, ElementsAre("w1"));
  EXPECT_THAT(NextPlacement({{"job", 0, 1, 1, true, DeviceKind::kCpu}}, mixed)->workers,
              ElementsAre("w0"));
  EXPECT_FALSE(NextPlacement({{"job", 0, 1, 2, true, DeviceKind::kCuda}}, mixed).has_value());
}

TEST(Queue, PlacesNothingWhereNobodyWaitsOrNobodyIsIdle) {
  EXPECT_FALSE(NextPlacement({}, kTwoCpus).has_value());
  EXPECT_FALSE(NextPlacement({{"job", 0, 1, 1}}, {}).has_value());
}

}  // namespace
}  // namespace birkhoff
