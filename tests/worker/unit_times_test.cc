// Kernels of a step become times of units.
#include "worker/unit_times.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

constexpr StepPhase kF = StepPhase::kForward, kB = StepPhase::kBackward;

// Each call has a digit of its own, so that a sum says of what.
std::vector<KernelTime> Step() {
  return {{StepPhase::kNone, "", "", 900'000'000},
          {kF, kBoundaryForward, "", 1},  // unit 1 with the embedding
          {kF, kGain, "", 10},
          {kF, "product", "8 x 8", 100},
          {kF, kBoundaryForward, "", 2},  // unit 2
          {kF, "swiglu", "", 20},
          {kF, kBoundaryForward, "", 3},  // unit 3
          {kF, "product", "8 x 8", 300},
          {kF, kBoundaryForward, "", 4},  // unit 4
          {kF, "swiglu", "", 60},
          {kF, kBoundaryForward, "", 5},  // head
          {kF, kWideProduct, "", 50},     // logits
          {kF, kWideProduct, "", 500},    // its gradient of weights is in the forward too
          {StepPhase::kNone, "", "", 900'000'000},
          {kB, kBoundaryBackward, "", 7},   // head
          {kB, "swiglu backward", "", 40},  // unit 4
          {kB, kWideProduct, "", 4000},
          {kB, kBoundaryBackward, "", 400},
          {kB, kGain, "", 40000},
          {kB, "product", "", 3},  // unit 3
          {kB, kWideProduct, "", 3000},
          {kB, kBoundaryBackward, "", 30},
          {kB, kGain, "", 300},
          {kB, "swiglu backward", "", 20},  // unit 2
          {kB, kWideProduct, "", 2000},
          {kB, kBoundaryBackward, "", 200},
          {kB, kGain, "", 20000},
          {kB, "product", "", 1},  // unit 1
          {kB, kWideProduct, "", 1000},
          {kB, kBoundaryBackward, "", 10},
          {kB, kGain, "", 100},
          {StepPhase::kNorm, "gradient norm", "", 600},
          {StepPhase::kNorm, "decide step", "", 40},
          {StepPhase::kUpdate, "adamw", "", 3200},
          {StepPhase::kRecompute, "boundary recompute", "", 8},
          {StepPhase::kRecompute, "boundary recompute", "", 32}};
}

TEST(UnitTimes, BoundariesPartTheUnits) {
  const ShapeTimes times = TimesOfUnits(Step(), /*elements=*/64);
  EXPECT_EQ(times.first, (UnitTimes{111, 111, 1000, 10}));
  EXPECT_EQ(times.attention, (UnitTimes{303, 333, 3000, 10}));
  EXPECT_EQ(times.feed_forward, (UnitTimes{(22 + 64) / 2, (20220 + 40440) / 2, 3000, 10}));
  EXPECT_EQ(times.head, (UnitTimes{555, 7, 0, 0}));
  EXPECT_EQ(times.norm_ns, 10.0);
  EXPECT_EQ(times.update_ns, 50.0);
}

TEST(UnitTimes, TheTableHasALineForEachContractAndShape) {
  const std::string table = KernelTable(Step());
  EXPECT_THAT(table, HasSubstr("kernel: forward product 8 x 8, 2 times 0.20 us\n"));
  EXPECT_THAT(table, HasSubstr("kernel: backward boundary backward , 5 times 0.13 us\n"));
  EXPECT_THAT(table, ::testing::Not(HasSubstr("900000")));
}

TEST(UnitTimesDeathTest, AnotherModelsStepIsRefused) {
  std::vector<KernelTime> step = Step();
  step.erase(step.begin() + 1);
  EXPECT_DEATH(TimesOfUnits(step, 64), "no walk over two layers|more boundaries");
}

}  // namespace
}  // namespace birkhoff
