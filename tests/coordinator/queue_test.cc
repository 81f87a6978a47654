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
  const std::vector<QueueWorker> one_is_busy = {{"w0", "cpu"}, {"w1", "cpu", 0, /*idle=*/false}};
  EXPECT_FALSE(NextPlacement({{"large", 0, 1, 2}, {"small", 0, 2, 1}}, one_is_busy).has_value());
  EXPECT_FALSE(
      NextPlacement({{"waits", 0, 1, 2, false}, {"small", 0, 2, 1}}, kTwoCpus).has_value());
}

// Item 36.
TEST(Queue, AJobThatNeedsMoreWorkersThanThereAreHoldsUpNobody) {
  const std::vector<QueuedJob> jobs = {{"large", 0, 1, 3}, {"small", 0, 2, 1}};
  EXPECT_EQ(NextPlacement(jobs, kTwoCpus)->job, "small");
  EXPECT_FALSE(NextPlacement(jobs, kTwoCpus, /*growing=*/true).has_value()) << "more will come";
}

TEST(Queue, WhoHasNothingToHopeForIsNotLookedAt) {
  QueueScan scan({{"w0", "cpu"}, {"w1", "cpu", 0, /*idle=*/false}, {"g0", "cuda"}});
  EXPECT_FALSE(scan.Hopeless(DeviceKind::kCpu, 2));
  EXPECT_TRUE(scan.Hopeless(DeviceKind::kCpu, 3));
  EXPECT_TRUE(scan.Hopeless(DeviceKind::kCuda, 2));
  EXPECT_FALSE(scan.Hopeless(DeviceKind::kAuto, 2));
  EXPECT_FALSE(scan.Offer({"two", 0, 1, 2, true, DeviceKind::kCpu}).has_value());
  EXPECT_TRUE(scan.Hopeless(DeviceKind::kCpu, 1)) << "somebody goes first";
  EXPECT_EQ(scan.claims().at("cpu"), "two");
}

// Item 23.
TEST(Queue, SaysWhyAJobWaits) {
  const auto why = [](int num_workers, DeviceKind device,
                      const std::map<std::string, Supply>& supplies) {
    return WaitingSentence({"jobs/a", 0, 1, num_workers, true, device}, supplies);
  };
  EXPECT_EQ(why(2, DeviceKind::kCuda, {{"cpu", {4, 4, {}, ""}}}),
            "waits for 2 idle workers with device cuda; there are none: 2 more must come");
  EXPECT_EQ(why(4, DeviceKind::kAuto, {{"cpu", {3, 1, {"jobs/b"}, ""}}}),
            "waits for 4 idle workers; there are 3 with device cpu, 1 of them idle: 1 more must "
            "come");
  EXPECT_EQ(why(2, DeviceKind::kAuto, {{"cpu", {2, 1, {"jobs/b"}, "jobs/a"}}}),
            "waits for 2 idle workers; there are 2 with device cpu, 1 of them idle: the others "
            "work for jobs/b");
  EXPECT_EQ(why(1, DeviceKind::kCpu, {{"cpu", {2, 1, {"jobs/b"}, "jobs/large"}}}),
            "waits for 1 idle worker with device cpu; there are 2 with device cpu, 1 of them idle: "
            "jobs/large goes first");
  EXPECT_EQ(
      why(1, DeviceKind::kAuto,
          {{"cpu", {1, 0, {"jobs/c"}, ""}}, {"cuda", {1, 0, {"jobs/b"}, "jobs/large"}}}),
      "waits for 1 idle worker; there is 1 with device cuda, 0 of them idle and 1 with device "
      "cpu, 0 of them idle: the others work for jobs/b, jobs/c");
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
  // All growing: more workers may come.
  const QueuedJob needs_gpus{"gpus", 0, 1, 2, true, DeviceKind::kCuda};
  const QueuedJob needs_cpu{"cpu", 0, 2, 1, true, DeviceKind::kCpu};
  const QueuedJob takes_either{"either", 0, 3, 1};
  const std::vector<QueueWorker> one_each = {{"w0", "cpu"}, {"w1", "cuda"}};
  EXPECT_EQ(NextPlacement({needs_gpus, needs_cpu}, one_each, true)->job, "cpu");
  EXPECT_THAT(NextPlacement({needs_gpus, takes_either}, one_each, true)->workers,
              ElementsAre("w0"));
  const QueuedJob large{"large", 0, 0, 3};
  EXPECT_FALSE(NextPlacement({large, needs_cpu, needs_gpus}, one_each, true).has_value());
  const QueuedJob not_ready{"busy", 0, 0, 1, false, DeviceKind::kCpu};
  EXPECT_FALSE(NextPlacement({not_ready, needs_cpu}, one_each, true).has_value());
  EXPECT_THAT(NextPlacement({not_ready, takes_either}, one_each, true)->workers, ElementsAre("w1"));
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
