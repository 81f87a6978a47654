// Who gets workers next, and which worker lives.
#include "coordinator/queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/worker_registry.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

class RegistryTest : public ::testing::Test {
 protected:
  absl::StatusOr<bool> Register(const std::string& name, uint64_t life) {
    Hello hello;
    hello.resources.name = name;
    return registry_.Register(now_, absl::UnixEpoch(), life, hello);
  }
  absl::Status Heard(const std::string& name, uint64_t life) {
    return registry_.Heard(now_, absl::UnixEpoch(), name, life);
  }

  Instant now_{0};
  WorkerRegistry registry_{absl::Seconds(5), absl::Minutes(15)};
};

TEST_F(RegistryTest, LetsOnlyTheYoungestLifeSpeak) {
  EXPECT_EQ(Register("w", 2).value(), false);
  EXPECT_EQ(Register("w", 1).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Heard("w", 1).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Heard("other", 1).code(), absl::StatusCode::kNotFound);
  registry_.Assign("w", "jobs/a", 1, 0);
  EXPECT_EQ(Register("w", 2).value(), false) << "the same life reconnects";
  EXPECT_EQ(Register("w", 3).value(), true) << "the work of life 2 is lost";
}

TEST_F(RegistryTest, SaysOnceThatALeaseRanOutAndForgetsLater) {
  ASSERT_TRUE(Register("w", 1).ok());
  now_ = now_ + absl::Seconds(4);
  ASSERT_TRUE(Heard("w", 1).ok());
  now_ = now_ + absl::Seconds(4);
  EXPECT_THAT(registry_.Expire(now_), IsEmpty());
  now_ = now_ + absl::Seconds(1);
  EXPECT_THAT(registry_.Expire(now_), ElementsAre("w"));
  EXPECT_THAT(registry_.Expire(now_), IsEmpty());
  EXPECT_THAT(registry_.Idle(""), IsEmpty());
  now_ = now_ + absl::Minutes(15);
  registry_.Expire(now_);
  EXPECT_EQ(registry_.Find("w"), nullptr);
}

TEST_F(RegistryTest, KeepsALostWorkerThatStillBelongsToAnAttempt) {
  ASSERT_TRUE(Register("w", 1).ok());
  registry_.Assign("w", "jobs/a", 1, 0);
  registry_.Expire(now_ + absl::Seconds(5));
  registry_.Expire(now_ + absl::Hours(1));
  EXPECT_NE(registry_.Find("w"), nullptr);
}

TEST_F(RegistryTest, ReleasesOnlyForTheAttemptThatHasTheWorker) {
  ASSERT_TRUE(Register("w", 1).ok());
  registry_.Assign("w", "jobs/a", 2, 0);
  EXPECT_THAT(registry_.Idle(""), IsEmpty());
  registry_.Release("w", "jobs/a", 1);
  EXPECT_THAT(registry_.Idle(""), IsEmpty());
  registry_.Release("w", "jobs/a", 2);
  EXPECT_THAT(registry_.Idle("cpu"), ElementsAre("w"));
  EXPECT_THAT(registry_.Idle("cuda"), IsEmpty());
}

TEST_F(RegistryTest, GivesNoWorkToOneThatIsOnlyExpected) {
  registry_.Expect(now_, "w", 4);
  registry_.Assign("w", "jobs/a", 1, 0);
  registry_.Release("w", "jobs/a", 1);
  EXPECT_THAT(registry_.Idle(""), IsEmpty());
  EXPECT_EQ(Heard("w", 4).code(), absl::StatusCode::kNotFound) << "it must say hello";
}

}  // namespace
}  // namespace birkhoff
