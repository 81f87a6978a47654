// What stands on the device between the passes of a step and its end.
#include "worker/step_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "core/plan/memory.h"
#include "tests/testing/device_vector.h"
#include "tests/testing/test_device.h"
#include "tests/worker/small_model.h"

namespace birkhoff {
namespace {

using testing::ToDevice;
using testing::ToHost;

constexpr int kWorldSize = 3;

class StepStateTest : public ::testing::Test {
 protected:
  int64_t Length() const { return state_->layout().length(); }
  std::vector<double> Empty() const {
    std::vector<double> row(Length());
    state_->layout().Clear(row);
    return row;
  }
  std::vector<double> Numbers(int64_t count) const {
    std::vector<double> numbers(count);
    for (int64_t i = 0; i < count; ++i) numbers[i] = 0.5 + static_cast<double>(i);
    return numbers;
  }
  StepScalars Scalars() const { return ToHost(*device_, state_->scalars(), 1).front(); }

  const ModelSpec model_ = SmallModel(ResidualKind::kMhc);
  const std::unique_ptr<Device> device_ = NewTestDevice();
  const std::unique_ptr<Stream> stream_ = device_->NewStream("step");
  const std::unique_ptr<StepState> state_ = StepState::Create(model_, kWorldSize, *device_).value();
};

TEST_F(StepStateTest, TakesWhatThePlanCounts) {
  EXPECT_EQ(device_->allocated_bytes(), AccumulatorBytes(model_, kWorldSize));
  EXPECT_EQ(state_->world_size(), kWorldSize);
}

TEST_F(StepStateTest, StartsEmptyAndBeforeTheFirstUpdate) {
  EXPECT_EQ(ToHost(*device_, state_->share(), Length()), Empty());
  EXPECT_EQ(Scalars().update, 0);
  EXPECT_EQ(Scalars().skip, 0);
  EXPECT_EQ(Scalars().clip_scale, 1.0);
}

TEST_F(StepStateTest, ResetGivesZerosAndInfinities) {
  ToDevice(*device_, state_->share(), Numbers(Length()));
  state_->Reset(*stream_);
  stream_->Synchronize();
  const std::vector<double> row = ToHost(*device_, state_->share(), Length());
  EXPECT_EQ(row, Empty());
  EXPECT_EQ(row[ShareLayout::kLoss], 0.0);
  const int64_t prefix = state_->layout().GainsAt(1, GainOf::kPrefix);
  EXPECT_EQ(row[prefix + ShareLayout::kForward], 0.0);
  EXPECT_TRUE(std::isinf(row[prefix + ShareLayout::kRowSumMin]));
  EXPECT_TRUE(std::isinf(row[prefix + ShareLayout::kColumnSumMin]));
  EXPECT_EQ(row[state_->layout().MatrixAt(3, GainOf::kSuffix)], 0.0);
}

TEST_F(StepStateTest, DownloadsItsShareAndThoseOfAll) {
  const std::vector<double> mine = Numbers(Length()), all = Numbers(kWorldSize * Length());
  ToDevice(*device_, state_->share(), mine);
  ToDevice(*device_, state_->gathered(), all);
  state_->DownloadShare(*stream_);
  state_->DownloadGathered(*stream_);
  stream_->Synchronize();
  EXPECT_THAT(state_->host_share(), ::testing::ElementsAreArray(mine));
  EXPECT_THAT(state_->host_gathered(), ::testing::ElementsAreArray(all));
}

TEST_F(StepStateTest, ResetLeavesWhatWasGatheredAndTheScalars) {
  const std::vector<double> all = Numbers(kWorldSize * Length());
  ToDevice(*device_, state_->gathered(), all);
  state_->SetUpdates(*stream_, 7);
  state_->Reset(*stream_);
  stream_->Synchronize();
  EXPECT_EQ(ToHost(*device_, state_->gathered(), kWorldSize * Length()), all);
  EXPECT_EQ(Scalars().update, 7);
}

TEST_F(StepStateTest, LearningRateChangesNothingElse) {
  ToDevice(*device_, state_->scalars(),
           {StepScalars{.lr = 1.0, .clip_scale = 0.25, .update = 11, .skip = 1}});
  state_->SetLearningRate(*stream_, 0.125);
  stream_->Synchronize();
  EXPECT_EQ(Scalars().lr, 0.125);
  EXPECT_EQ(Scalars().clip_scale, 0.25);
  EXPECT_EQ(Scalars().update, 11);
  EXPECT_EQ(Scalars().skip, 1);
  EXPECT_EQ(ToHost(*device_, state_->share(), Length()), Empty());
}

TEST_F(StepStateTest, UpdatesGoOnFromWhatWasMade) {
  state_->SetUpdates(*stream_, 41);
  state_->SetLearningRate(*stream_, 0.5);
  stream_->Synchronize();
  EXPECT_EQ(Scalars().update, 41);
  EXPECT_EQ(Scalars().lr, 0.5);
}

}  // namespace
}  // namespace birkhoff
