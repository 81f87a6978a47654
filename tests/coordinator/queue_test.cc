// Who gets workers next.
#include "coordinator/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

const std::vector<QueueWorker> kTwoCpus = {{"w0", "cpu"}, {"w1", "cpu"}};

TEST(Queue, TakesTheHigherPriorityThenTheOlderJob) {
  EXPECT_EQ(NextPlacement({{"old", 0, 1, 1}, {"new", 0, 2, 1}}, kTwoCpus)->job, "old");
  EXPECT_EQ(NextPlacement({{"old", 0, 1, 1}, {"urgent", 5, 2, 1}}, kTwoCpus)->job, "urgent");
}

TEST(Queue, DoesNotLetASmallJobOvertakeALargeOne) {
  EXPECT_FALSE(NextPlacement({{"large", 0, 1, 3}, {"small", 0, 2, 1}}, kTwoCpus).has_value());
  EXPECT_FALSE(
      NextPlacement({{"waits", 0, 1, 2, false}, {"small", 0, 2, 1}}, kTwoCpus).has_value());
}

TEST(Queue, TakesAWorkerThatStoodStillOnlyWhereOthersDoNotSuffice) {
  const std::vector<QueueWorker> three = {{"w0", "cpu"}, {"w1", "cpu"}, {"w2", "cpu"}};
  QueuedJob job{"job", 0, 1, 2};
  job.avoid = "w0";
  EXPECT_THAT(NextPlacement({job}, three)->workers, ElementsAre("w1", "w2"));
  EXPECT_THAT(NextPlacement({job}, kTwoCpus)->workers, ElementsAre("w1", "w0"));
}

TEST(Queue, GivesAJobWorkersOfOneDevice) {
  const std::vector<QueueWorker> mixed = {{"w0", "cpu"}, {"w1", "cuda"}, {"w2", "cpu"}};
  const auto two = NextPlacement({{"job", 0, 1, 2}}, mixed);
  ASSERT_TRUE(two.has_value());
  EXPECT_THAT(two->workers, ElementsAre("w0", "w2"));
  EXPECT_THAT(NextPlacement({{"job", 0, 1, 1}}, mixed)->workers, ElementsAre("w1"));
  EXPECT_THAT(NextPlacement({{"job", 0, 1, 1, true, DeviceKind::kCpu}}, mixed)->workers,
              ElementsAre("w0"));
  EXPECT_FALSE(NextPlacement({{"job", 0, 1, 2, true, DeviceKind::kCuda}}, mixed).has_value());
}

// A job that waits for a GPU claims GPUs only; one that takes either claims both.
TEST(Queue, AJobClaimsTheDevicesThatItWaitsFor) {
  const QueuedJob needs_gpus{"gpus", 0, 1, 2, true, DeviceKind::kCuda};
  const QueuedJob needs_cpu{"cpu", 0, 2, 1, true, DeviceKind::kCpu};
  const QueuedJob takes_either{"either", 0, 3, 1};
  const std::vector<QueueWorker> one_each = {{"w0", "cpu"}, {"w1", "cuda"}};
  EXPECT_EQ(NextPlacement({needs_gpus, needs_cpu}, one_each)->job, "cpu");
  EXPECT_THAT(NextPlacement({needs_gpus, takes_either}, one_each)->workers, ElementsAre("w0"));
  const QueuedJob large{"large", 0, 0, 3};
  EXPECT_FALSE(NextPlacement({large, needs_cpu, needs_gpus}, one_each).has_value());
  const QueuedJob not_ready{"busy", 0, 0, 1, false, DeviceKind::kCpu};
  EXPECT_FALSE(NextPlacement({not_ready, needs_cpu}, one_each).has_value());
  EXPECT_THAT(NextPlacement({not_ready, takes_either}, one_each)->workers, ElementsAre("w1"));
}

TEST(Queue, PassesOverWorkersWithoutRoom) {
  QueuedJob large{"large", 0, 1, 2};
  large.no_room["cpu"] = 100;
  const std::vector<QueueWorker> mixed = {
      {"a", "cpu", 1}, {"b", "cpu", 101}, {"c", "cpu", 100}, {"d", "cpu", 0}};
  EXPECT_THAT(NextPlacement({large}, mixed)->workers, ElementsAre("b", "d"));
}

// It holds up others only where waiting can help: enough workers with room exist.
TEST(Queue, AJobWithoutRoomClaimsOnlyWhatItMayGet) {
  QueuedJob large{"large", 0, 1, 2};
  large.no_room["cpu"] = 100;
  const QueuedJob small{"small", 0, 2, 1};
  std::vector<QueueWorker> workers = {
      {"a", "cpu", 1}, {"b", "cpu", 101}, {"c", "cpu", 200, /*idle=*/false}};
  EXPECT_FALSE(NextPlacement({large, small}, workers).has_value());
  workers.pop_back();
  EXPECT_EQ(NextPlacement({large, small}, workers)->job, "small");
  QueuedJob deferred{"deferred", 0, 1, 1};
  deferred.deferred = true;
  EXPECT_EQ(NextPlacement({deferred, small}, workers)->job, "small");
}

TEST(Queue, PlacesNothingWhereNobodyWaitsOrNobodyIsIdle) {
  EXPECT_FALSE(NextPlacement({}, kTwoCpus).has_value());
  EXPECT_FALSE(NextPlacement({{"job", 0, 1, 1}}, {}).has_value());
}

}  // namespace
}  // namespace birkhoff
