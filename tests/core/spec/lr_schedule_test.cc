// Learning rates of every schedule at steps worked out by hand, and borders against integers.
#include "core/spec/lr_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

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

// The header's formulas, step by step, in long doubles and with shares as whole thousandths.
struct Course {
  LrScheduleKind kind;
  int64_t steps, warmup, decay;
  std::vector<std::pair<int64_t, double>> drops;  // thousandths of the steps, factor
};

long double Naive(const Course& course, long double base, long double min, int64_t step) {
  const int64_t steps = course.steps, warmup = course.warmup, last = steps - 1;
  if (step < warmup)
    return base * static_cast<long double>(step + 1) / static_cast<long double>(warmup);
  const auto share = [](int64_t part, int64_t whole) {
    return whole <= 0 ? 1.0L : static_cast<long double>(part) / static_cast<long double>(whole);
  };
  const long double t = share(step - warmup, last - warmup);
  long double rate = base;
  switch (course.kind) {
    case LrScheduleKind::kConstant:
      break;
    case LrScheduleKind::kLinear:
      rate = base + t * (min - base);
      break;
    case LrScheduleKind::kCosine:
      rate = min + (base - min) * (1.0L + std::cos(std::acos(-1.0L) * t)) / 2.0L;
      break;
    case LrScheduleKind::kWsd: {
      const int64_t decay = course.decay > 0 ? course.decay : std::max<int64_t>(1, steps / 10);
      const int64_t left = last - step;  // steps behind this one
      if (left < decay) rate = min + (base - min) * share(left, decay);
      break;
    }
    case LrScheduleKind::kStep:
      for (const auto& [thousandths, factor] : course.drops) {
        if (1000 * step >= thousandths * steps) rate = base * factor;
      }
      break;
  }
  return rate;
}

TEST(LearningRate, IsItsFormulaAtEveryStep) {
  const std::vector<Course> courses = {
      {LrScheduleKind::kConstant, 50, 0, 0, {}},
      {LrScheduleKind::kConstant, 50, 50, 0, {}},
      {LrScheduleKind::kLinear, 1, 0, 0, {}},
      {LrScheduleKind::kLinear, 2, 0, 0, {}},
      {LrScheduleKind::kLinear, 2, 1, 0, {}},
      {LrScheduleKind::kLinear, 200, 20, 0, {}},
      {LrScheduleKind::kLinear, 200, 199, 0, {}},
      {LrScheduleKind::kLinear, 200, 200, 0, {}},
      {LrScheduleKind::kLinear, 200, 300, 0, {}},
      {LrScheduleKind::kCosine, 1, 0, 0, {}},
      {LrScheduleKind::kCosine, 3, 1, 0, {}},
      {LrScheduleKind::kCosine, 200, 20, 0, {}},
      {LrScheduleKind::kCosine, 997, 31, 0, {}},
      {LrScheduleKind::kWsd, 1, 0, 0, {}},
      {LrScheduleKind::kWsd, 5, 0, 0, {}},
      {LrScheduleKind::kWsd, 9, 0, 0, {}},
      {LrScheduleKind::kWsd, 20, 0, 0, {}},
      {LrScheduleKind::kWsd, 200, 20, 0, {}},
      {LrScheduleKind::kWsd, 200, 20, 1, {}},
      {LrScheduleKind::kWsd, 200, 20, 180, {}},
      {LrScheduleKind::kWsd, 200, 20, 179, {}},
      {LrScheduleKind::kStep, 200, 20, 0, {{800, 0.316}, {900, 0.1}}},
      {LrScheduleKind::kStep, 7, 0, 0, {{143, 0.5}, {286, 0.0}, {858, 2.0}}},
      {LrScheduleKind::kStep, 1000, 500, 0, {{1, 0.9}, {499, 0.8}, {999, 0.7}}},
      {LrScheduleKind::kStep, 100, 0, 0, {}}};
  for (const Course& course : courses) {
    LrScheduleSpec schedule = Schedule(course.kind, course.warmup);
    schedule.decay_steps = course.decay;
    schedule.step_at.clear();
    schedule.step_factor.clear();
    for (const auto& [thousandths, factor] : course.drops) {
      schedule.step_at.push_back(static_cast<double>(thousandths) / 1000.0);
      schedule.step_factor.push_back(factor);
    }
    for (const auto& [base, min] : {std::pair(3e-3, 1e-5), {1.0, 0.0}, {0.25, 0.25}}) {
      schedule.min_lr = min;
      for (int64_t step = 0; step < course.steps; ++step) {
        const double want = static_cast<double>(Naive(course, base, min, step));
        EXPECT_NEAR(LearningRate(schedule, base, course.steps, step), want, 4e-16 * base)
            << static_cast<int>(course.kind) << " step " << step << " of " << course.steps;
      }
    }
  }
}

// Nothing overflows where steps and warm-up are as long as a spec allows.
TEST(LearningRate, HoldsAtTheLargestNumbersOfSteps) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const LrScheduleKind kind :
       {LrScheduleKind::kConstant, LrScheduleKind::kLinear, LrScheduleKind::kCosine,
        LrScheduleKind::kWsd, LrScheduleKind::kStep}) {
    LrScheduleSpec schedule = Schedule(kind, 0);
    schedule.step_factor = {0.5, 0.1};
    EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kMost, 0), 1.0);
    EXPECT_DOUBLE_EQ(LearningRate(schedule, kBase, kMost, kMost - 1),
                     kind == LrScheduleKind::kConstant ? 1.0 : 0.1);
    EXPECT_DOUBLE_EQ(LearningRate(Schedule(kind, kMost), kBase, kMost, kMost - 1), 1.0);
  }
}

// More shares than factors, which no spec has: what has no factor changes nothing.
TEST(LearningRate, AShareWithoutAFactorIsPassedOver) {
  LrScheduleSpec schedule = Schedule(LrScheduleKind::kStep, 0);
  schedule.step_at = {0.5, 0.9};
  schedule.step_factor = {0.5};
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 99), 0.5);
  schedule.step_at = {0.5};
  schedule.step_factor = {0.5, 0.1};
  EXPECT_EQ(LearningRate(schedule, kBase, 100, 99), 0.5);
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
