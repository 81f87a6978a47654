// Lives, leases and assignments of workers.
#include "coordinator/worker_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kLease = absl::Seconds(5);
constexpr absl::Duration kForget = absl::Minutes(15);

class WorkerRegistryTest : public ::testing::Test {
 protected:
  absl::StatusOr<bool> Register(const std::string& name, uint64_t life,
                                const std::string& device = "cpu") {
    Hello hello;
    hello.resources.name = name;
    hello.resources.device = device;
    hello.address = "10.0.0.1";
    return registry_.Register(now_, wall_, life, hello);
  }
  absl::Status Heard(const std::string& name, uint64_t life) {
    return registry_.Heard(now_, wall_, name, life);
  }

  Instant now_{1'000'000'000};
  absl::Time wall_ = absl::FromUnixSeconds(1'700'000'000);
  WorkerRegistry registry_{kLease, kForget};
};

TEST_F(WorkerRegistryTest, AWorkerIsIdleUntilItIsAssigned) {
  ASSERT_FALSE(Register("a", 1).value());
  ASSERT_FALSE(Register("g", 1, "cuda").value());
  EXPECT_THAT(registry_.Idle(""), ElementsAre("a", "g"));
  EXPECT_THAT(registry_.Idle("cuda"), ElementsAre("g"));
  registry_.Assign("a", "jobs/x", 2, 1);
  EXPECT_THAT(registry_.Idle(""), ElementsAre("g"));
  EXPECT_EQ(registry_.Find("a")->rank, 1);
  registry_.Release("a", "jobs/x", 1);
  registry_.Release("a", "jobs/y", 2);
  EXPECT_THAT(registry_.Idle("cpu"), IsEmpty()) << "another attempt cannot release it";
  registry_.Release("a", "jobs/x", 2);
  EXPECT_THAT(registry_.Idle("cpu"), ElementsAre("a"));
}

TEST_F(WorkerRegistryTest, AYoungerLifeReplacesAnOlderOneAndNotTheOtherWayRound) {
  ASSERT_FALSE(Register("a", 5).value());
  EXPECT_FALSE(Register("a", 6).value()) << "it had no work that could be lost";
  registry_.Assign("a", "jobs/x", 1, 0);
  EXPECT_FALSE(Register("a", 6).value()) << "the same life reconnects";
  EXPECT_TRUE(Register("a", 7).value());
  EXPECT_TRUE(absl::IsAborted(Register("a", 6).status()));
  EXPECT_TRUE(absl::IsAborted(Heard("a", 6)));
  EXPECT_TRUE(Heard("a", 7).ok());
}

TEST_F(WorkerRegistryTest, ALifeThatIsSilentGivesWayToAnySuccessor) {
  ASSERT_TRUE(Register("a", ~uint64_t{0}).ok()) << "its clock was ahead, or it is a thief";
  registry_.Assign("a", "jobs/x", 1, 0);
  EXPECT_TRUE(absl::IsAborted(Register("a", 7).status())) << "it is alive";
  now_ = now_ + kLease;
  registry_.Expire(now_);
  EXPECT_TRUE(Register("a", 7).value()) << "its work is lost";
  EXPECT_TRUE(Heard("a", 7).ok());
  EXPECT_TRUE(absl::IsAborted(Heard("a", ~uint64_t{0})));
}

TEST_F(WorkerRegistryTest, TwoLivingProcessesOfOneNameAreToldApart) {
  Hello hello;
  hello.resources.name = "a";
  hello.address = "10.0.0.1";
  ASSERT_TRUE(registry_.Register(now_, wall_, 5, hello).ok());
  hello.address = "10.0.0.2";
  const absl::Status second =
      registry_.Register(now_, wall_, 6, hello, /*elsewhere=*/true).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(second.message(),
            "a is another process, at 10.0.0.1, which is alive; give this one another --name, or "
            "end the other one");
  EXPECT_TRUE(Heard("a", 5).ok()) << "the first is not touched";
  now_ = now_ + kLease;
  registry_.Expire(now_);
  EXPECT_TRUE(registry_.Register(now_, wall_, 6, hello, /*elsewhere=*/true).ok());
}

TEST_F(WorkerRegistryTest, AnExtensionGivesEverybodyWhoLivesMoreTime) {
  ASSERT_TRUE(Register("a", 1).ok());
  registry_.Extend(absl::Seconds(20));
  now_ = now_ + (kLease + absl::Seconds(20) - absl::Nanoseconds(1));
  EXPECT_THAT(registry_.Expire(now_), IsEmpty());
  now_ = now_ + absl::Nanoseconds(1);
  EXPECT_THAT(registry_.Expire(now_), ElementsAre("a"));
}

TEST_F(WorkerRegistryTest, OneWhoNeverSaidHelloIsNotHeard) {
  EXPECT_TRUE(absl::IsNotFound(Heard("a", 1)));
  registry_.Expect(now_, "b", 3);
  EXPECT_TRUE(absl::IsNotFound(Heard("b", 3))) << "expected back, and not yet here";
  registry_.Assign("b", "jobs/x", 1, 0);
  registry_.Release("b", "jobs/x", 1);
  EXPECT_THAT(registry_.Idle(""), IsEmpty()) << "no work for one that is only expected";
}

TEST_F(WorkerRegistryTest, ALeaseEndsOnceAndIsRenewedByWords) {
  ASSERT_TRUE(Register("a", 1).ok());
  now_ = now_ + (kLease - absl::Nanoseconds(1));
  EXPECT_THAT(registry_.Expire(now_), IsEmpty());
  ASSERT_TRUE(Heard("a", 1).ok());
  now_ = now_ + (kLease - absl::Nanoseconds(1));
  EXPECT_THAT(registry_.Expire(now_), IsEmpty());
  now_ = now_ + absl::Nanoseconds(1);
  EXPECT_THAT(registry_.Expire(now_), ElementsAre("a"));
  EXPECT_THAT(registry_.Expire(now_), IsEmpty()) << "said once";
  EXPECT_TRUE(registry_.Find("a")->lost);
  EXPECT_THAT(registry_.Idle(""), IsEmpty());
  ASSERT_TRUE(Heard("a", 1).ok());
  EXPECT_THAT(registry_.Idle(""), ElementsAre("a")) << "it lives after all";
}

TEST_F(WorkerRegistryTest, ALostWorkerIsForgottenOnceItHasNoWork) {
  ASSERT_TRUE(Register("a", 1).ok());
  registry_.Assign("a", "jobs/x", 1, 0);
  now_ = now_ + kLease;
  registry_.Expire(now_);
  now_ = now_ + kForget;
  registry_.Expire(now_);
  EXPECT_NE(registry_.Find("a"), nullptr);
  registry_.Release("a", "jobs/x", 1);
  registry_.Expire(now_);
  EXPECT_EQ(registry_.Find("a"), nullptr);
}

TEST_F(WorkerRegistryTest, AWorkerThatIsExpectedBackHasOneFullLease) {
  registry_.Expect(now_, "a", 4);
  registry_.Assign("a", "jobs/x", 1, 0);
  now_ = now_ + (kLease - absl::Nanoseconds(1));
  EXPECT_THAT(registry_.Expire(now_), IsEmpty());
  EXPECT_FALSE(Register("a", 4).value()) << "the same life: its work goes on";
  EXPECT_EQ(registry_.Find("a")->job, "jobs/x");
}

}  // namespace
}  // namespace birkhoff
