// What a program says of itself, alive, started and ready, by a clock that is moved by hand.
#include "core/base/health.h"

#include <gtest/gtest.h>

namespace birkhoff {
namespace {

class HandClock final : public Clock {
 public:
  Instant Now() const override { return now; }
  absl::Time WallTime() const override { return absl::UnixEpoch(); }
  Instant now;
};

TEST(Health, IsAliveButNeitherStartedNorReadyBeforeTheFirstBeat) {
  const HandClock clock;
  Health health(clock);
  health.SetReady(absl::OkStatus());
  EXPECT_TRUE(health.Liveness().ok());
  EXPECT_EQ(health.Startup().message(), "starting");
  EXPECT_EQ(health.Readiness().message(), "starting");
}

TEST(Health, IsReadyOnceItHasStartedAndItsPartsAre) {
  const HandClock clock;
  Health health(clock);
  health.Beat();
  EXPECT_TRUE(health.Startup().ok());
  EXPECT_FALSE(health.Readiness().ok()) << "nobody has said that it is";
  health.SetReady(absl::UnavailableError("the disk is full"));
  EXPECT_EQ(health.Readiness().message(), "the disk is full");
  health.SetReady(absl::OkStatus());
  EXPECT_TRUE(health.Readiness().ok());
}

TEST(Health, IsNotAliveOnceItsLoopIsStuckAndAliveAgainAfterwards) {
  HandClock clock;
  Health health(clock, absl::Seconds(30));
  health.Beat();
  clock.now = clock.now + absl::Seconds(30);
  EXPECT_TRUE(health.Liveness().ok());
  clock.now = clock.now + absl::Milliseconds(1);
  EXPECT_EQ(health.Liveness().message(), "the main loop has not come round for 30.001s");
  health.Beat();
  EXPECT_TRUE(health.Liveness().ok());
}

TEST(Health, WhatOthersDoIsNoMatterOfLife) {
  const HandClock clock;
  Health health(clock);
  health.Beat();
  health.SetReady(absl::UnavailableError("the coordinator is away"));
  EXPECT_TRUE(health.Liveness().ok());
}

TEST(Health, IsNeverReadyAgainOnceItStops) {
  const HandClock clock;
  Health health(clock);
  health.Beat();
  health.SetReady(absl::OkStatus());
  health.SetStopping();
  health.SetReady(absl::OkStatus());
  EXPECT_EQ(health.Readiness().message(), "stopping");
  EXPECT_TRUE(health.Liveness().ok()) << "it drains";
}

}  // namespace
}  // namespace birkhoff
