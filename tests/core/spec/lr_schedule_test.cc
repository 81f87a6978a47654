// Learning rates of every schedule at steps worked out by hand, and borders against integers.
#include "core/spec/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace birkhoff {
namespace {

constexpr double kBase = 1.0;
constexpr int64_t kSteps = 101;

LrScheduleSpec Schedule(LrScheduleKind kind, int64_t warmup) {
  LrScheduleSpec schedule;
  schedule.kind = kind;
  schedule.warmup_steps = warmup;
  schedule.min_lr = 0.1;
  return schedule;
}

TEST(LearningRate, WarmsUpFromTheFirstStepToTheFullRate) {
  for (const LrScheduleKind kind :
       {LrScheduleKind::kConstant, LrScheduleKind::kLinear, LrScheduleKind::kCosine,
        LrScheduleKind::kWsd, LrScheduleKind::kStep}) {
    const LrScheduleSpec schedule = Schedule(kind, 10);
    EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 0), 0.1);
    EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 4), 0.5);
    EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 9), 1.0);
    EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 10), 1.0);
  }
}

TEST(LearningRate, StartsAtTheFullRateWithoutWarmUp) {
  EXPECT_EQ(LearningRate(Schedule(LrScheduleKind::kCosine, 0), kBase, kSteps, 0), kBase);
}

TEST(LearningRate, StaysWhenConstant) {
  EXPECT_EQ(LearningRate(Schedule(LrScheduleKind::kConstant, 0), kBase, kSteps, 100), kBase);
}

TEST(LearningRate, FallsLinearlyToTheLastStep) {
  const LrScheduleSpec schedule = Schedule(LrScheduleKind::kLinear, 0);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 50), 0.55);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 100), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 500), 0.1);
}

TEST(LearningRate, FollowsACosine) {
  const LrScheduleSpec schedule = Schedule(LrScheduleKind::kCosine, 0);
  EXPECT_NEAR(LearningRate(schedule, kBase, kSteps, 25), 0.1 + 0.9 * (2 + std::sqrt(2.0)) / 4,
              1e-12);
  EXPECT_NEAR(LearningRate(schedule, kBase, kSteps, 50), 0.55, 1e-12);
  EXPECT_NEAR(LearningRate(schedule, kBase, kSteps, 100), 0.1, 1e-12);
}

TEST(LearningRate, WsdHoldsThenDecays) {
  LrScheduleSpec schedule = Schedule(LrScheduleKind::kWsd, 0);
  schedule.decay_steps = 20;
  EXPECT_EQ(LearningRate(schedule, kBase, kSteps, 80), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 90), 0.55);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 100), 0.1);
  schedule.decay_steps = 0;  // a tenth
  EXPECT_EQ(LearningRate(schedule, kBase, kSteps, 90), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kSteps, 95), 0.55);
}

TEST(LearningRate, StepsDownAtItsShares) {
  const LrScheduleSpec schedule = Schedule(LrScheduleKind::kStep, 0);
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 79), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, 100, 80), 0.316);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, 100, 89), 0.316);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, 100, 90), 0.1);
}

// Issue item 21: every share of hundredths and thousandths, against integers.
TEST(LearningRate, EveryBorderLiesWhereExactArithmeticPutsIt) {
  LrScheduleSpec schedule = Schedule(LrScheduleKind::kStep, 0);
  schedule.step_factor = {0.5};
  for (const int64_t parts : {100, 1000}) {
    for (int64_t part = 1; part < parts; ++part) {
      schedule.step_at = {static_cast<double>(part) / static_cast<double>(parts)};
      for (const int64_t steps : {1, 7, 10, 30, 100, 999, 1000, 123457, 2'000'000'000}) {
        const int64_t border = (part * steps + parts - 1) / parts;
        EXPECT_EQ(LearningRate(schedule, kBase, steps, border), 0.5) << part << " " << steps;
        EXPECT_EQ(LearningRate(schedule, kBase, steps, border - 1), 1.0) << part << " " << steps;
      }
    }
  }
  schedule.step_at = {0.55};
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 55), 0.5);
  schedule.step_at = {1e-300};
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 0), 1.0);
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 1), 0.5);
  schedule.step_at = {0.9999999999999999};
  EXPECT_EQ(LearningRate(schedule, kBase, int64_t{1} << 62, (int64_t{1} << 62) - 1), 0.5);
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 99), 1.0);
}

TEST(LearningRate, NeverLeavesItsRangeOrRises) {
  for (const LrScheduleKind kind : {LrScheduleKind::kLinear, LrScheduleKind::kCosine,
                                    LrScheduleKind::kWsd, LrScheduleKind::kStep}) {
    for (const int64_t steps : {1, 2, 7, 101}) {
      double last = kBase;
      for (int64_t step = 0; step < steps; ++step) {
        const double rate = LearningRate(Schedule(kind, 0), kBase, steps, step);
        EXPECT_LE(rate, last);
        EXPECT_GE(rate, 0.1);
        last = rate;
      }
    }
  }
}

}  // namespace
}  // namespace birkhoff
