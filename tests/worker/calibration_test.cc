// A card file from the tests' device: all that planning needs of the shape, and nothing lost of
// what the file had.
#include "worker/calibration.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/plan/compile.h"
#include "core/spec/card_rates.h"
#include "core/spec/resolve.h"
#include "tests/testing/test_device.h"
#include "tests/worker/small_model.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

JobSpec Spec(ResidualKind kind) {
  JobSpec spec;
  spec.model = SmallModel(kind);
  spec.training.sequence_length = 12;
  spec.training.micro_batch_size = 2;
  spec.training.global_batch_size = 8;
  spec.parallelism.pipeline_parallel_degree = 1;
  spec.parallelism.schedule = ScheduleKind::k1F1B;
  if (TestDeviceName() == "cuda") spec.device = DeviceKind::kCuda;
  return spec;
}

TEST(Calibration, TimesEveryUnitOfTheShape) {
  for (const PrecisionKind precision : TestPrecisions()) {
    for (const ResidualKind kind : {ResidualKind::kMhc, ResidualKind::kResidual}) {
      JobSpec spec = Spec(kind);
      spec.training.precision = precision;
      const std::unique_ptr<Device> device = NewTestDevice();
      const auto text = Calibrate(spec, *device, "a card", "");
      ASSERT_TRUE(text.ok()) << text.status();
      EXPECT_EQ(device->allocated_bytes(), 0);
      const auto rates = CardRatesFromText(*text);
      ASSERT_TRUE(rates.ok()) << rates.status();
      EXPECT_EQ(rates->card, "a card");
      const Numerics numerics = *ResolveNumerics(spec, device->processor());
      ASSERT_EQ(rates->by_shape.count(ShapeKey(spec, numerics)), 1u) << *text;
      const ShapeTimes& times = rates->by_shape.at(ShapeKey(spec, numerics));
      for (const UnitTimes& unit : {times.first, times.attention, times.feed_forward}) {
        EXPECT_GT(unit.forward, 0);
        EXPECT_GT(unit.backward_input, 0);
        EXPECT_GT(unit.backward_weight, 0);
        // On a GPU kernels as small as these may take less than the marks that are taken off.
        EXPECT_GE(unit.recompute, device->processor() == Processor::kCpu ? 1 : 0);
      }
      EXPECT_GT(times.head.forward, 0);
      EXPECT_GT(times.norm_ns, 0.0);
      EXPECT_GT(times.update_ns, 0.0);
      EXPECT_THAT(*text, HasSubstr("kernel: backward attention backward 2 of 24 x "));
    }
  }
}

TEST(Calibration, KeepsWhatTheFileHas) {
  const JobSpec spec = Spec(ResidualKind::kMhc);
  const std::unique_ptr<Device> device = NewTestDevice();
  const CardRates known = {.card = "a card",
                           .by_shape = {{"another shape", {.first = {1, 2, 3, 4}}}}};
  const auto text = Calibrate(spec, *device, "a card", CardRatesToText(known));
  ASSERT_TRUE(text.ok()) << text.status();
  const auto rates = CardRatesFromText(*text);
  ASSERT_TRUE(rates.ok()) << rates.status();
  EXPECT_EQ(rates->by_shape.size(), 2u);
  EXPECT_EQ(rates->by_shape.at("another shape"), known.by_shape.at("another shape"));
}

TEST(Calibration, RefusesAFileOfAnotherCard) {
  const std::unique_ptr<Device> device = NewTestDevice();
  const auto other = Calibrate(Spec(ResidualKind::kMhc), *device, "a card",
                               CardRatesToText({.card = "another", .by_shape = {}}));
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition) << other.status();
  const auto none = Calibrate(Spec(ResidualKind::kMhc), *device, "a card", "some text");
  EXPECT_EQ(none.status().code(), absl::StatusCode::kInvalidArgument) << none.status();
}

}  // namespace
}  // namespace birkhoff
