// The agreed step result: sums, minima and decisions, folded from hand-made contributions.
#include "worker/agree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "worker/optimizer.h"

namespace birkhoff {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

// Only sums and a place in the model.
class SummedStage final : public StageModule {
 public:
  SummedStage(UnitRange units, StageSums sums) : sums_(std::move(sums)) { layout_.units = units; }
  const StageLayout& layout() const override { return layout_; }
  const StageSums& sums() const override { return sums_; }
  void Forward(Stream&, const StageBuffers&, StageMode) override {}
  void Recompute(Stream&, UnitRange, const StageBuffers&) override {}
  void BackwardInput(Stream&, UnitRange, const StageBuffers&, int64_t) override {}
  void BackwardWeight(Stream&, UnitRange, const StageBuffers&) override {}
  void Backward(Stream&, UnitRange, const StageBuffers&, int64_t) override {}
  void ResetSums(Stream&) override {}

 private:
  StageLayout layout_;
  StageSums sums_;
};

// One block: units are the embedding, two sub-layers and the head; n = 2.
ModelSpec Model() {
  ModelSpec model;
  model.num_hidden_layers = 1;
  model.residual.streams = 2;
  return model;
}

// Gains that are `scale` times a token count of 10.
StageSums::SubLayer SubLayerOf(double scale) {
  StageSums::SubLayer sublayer;
  sublayer.composite_forward = 10.0 * scale;
  sublayer.composite_backward = 20.0 * scale;
  sublayer.single_forward = 30.0 * scale;
  sublayer.single_backward = 40.0 * scale;
  sublayer.mean_forward = {10.0 * scale, -30.0 * scale, 5.0, 5.0};
  sublayer.mean_backward = {10.0 * scale, 0.0, 10.0 * scale, 1.0};
  sublayer.row_sum_min = 1.0 / scale;
  sublayer.column_sum_min = 0.5 / scale;
  return sublayer;
}

class AgreeTest : public ::testing::Test {
 protected:
  // Two ranks: embedding and attention; feed-forward and head.
  AgreeTest() {
    StageSums first, last;
    first.sublayers = {SubLayerOf(1.0)};
    last.sublayers = {SubLayerOf(2.0)};
    last.loss = 36.0;
    last.target_tokens = 9;
    stages_[0] = std::make_unique<SummedStage>(UnitRange{0, 2}, first);
    stages_[1] = std::make_unique<SummedStage>(UnitRange{2, 4}, last);
    for (int r = 0; r < 2; ++r) shares_[r].stages = {stages_[r].get()};
    shares_[0].norm.squared = 9.0;
    shares_[1].norm.squared = 16.0;
    shares_[0].utilization = {60, 100};
    shares_[1].utilization = {90, 200};
  }

  Agreement Agree(double clip_grad = 0.0) const {
    const int64_t length = AgreeLength(Model());
    std::vector<double> all(2 * length, -1.0);
    for (int r = 0; r < 2; ++r) {
      PackShare(Model(), shares_[r], std::span<double>(all).subspan(r * length, length));
    }
    return FoldShares(Model(), all, {clip_grad, /*total_tokens=*/10});
  }

  std::unique_ptr<SummedStage> stages_[2];
  RankShare shares_[2];
};

TEST_F(AgreeTest, AddsLossTokensAndNorm) {
  const Agreement agreed = Agree();
  EXPECT_DOUBLE_EQ(agreed.loss, 4.0);
  EXPECT_EQ(agreed.target_tokens, 9);
  EXPECT_DOUBLE_EQ(agreed.grad_norm, 5.0);
  EXPECT_FALSE(agreed.skip);
  EXPECT_FALSE(agreed.stop);
  EXPECT_DOUBLE_EQ(agreed.clip_scale, 1.0);
}

TEST_F(AgreeTest, ClipsOnlyAboveTheBound) {
  EXPECT_DOUBLE_EQ(Agree(2.0).clip_scale, 0.4);
  EXPECT_DOUBLE_EQ(Agree(5.0).clip_scale, 1.0);
  EXPECT_DOUBLE_EQ(Agree(0.0).clip_scale, 1.0);
}

TEST_F(AgreeTest, PutsSubLayersOfAllStagesInTheirPlaces) {
  const GainReport gain = Agree().gain;
  EXPECT_THAT(gain.forward_by_sublayer, ElementsAre(DoubleEq(1.0), DoubleEq(2.0)));
  EXPECT_THAT(gain.backward_by_sublayer, ElementsAre(DoubleEq(2.0), DoubleEq(4.0)));
  EXPECT_THAT(gain.single_forward_by_sublayer, ElementsAre(DoubleEq(3.0), DoubleEq(6.0)));
  EXPECT_THAT(gain.single_backward_by_sublayer, ElementsAre(DoubleEq(4.0), DoubleEq(8.0)));
  EXPECT_DOUBLE_EQ(gain.forward, 2.0);
  EXPECT_DOUBLE_EQ(gain.backward, 4.0);
}

TEST_F(AgreeTest, TakesMinimaOverRanksAndGainsOfMeanMatrices) {
  const GainReport gain = Agree().gain;
  EXPECT_DOUBLE_EQ(gain.row_sum_min, 0.5);
  EXPECT_DOUBLE_EQ(gain.column_sum_min, 0.25);
  // Forward: |20 - 60| / 10 by rows of the second; backward: (20 + 20) / 10 by columns.
  EXPECT_DOUBLE_EQ(gain.mean_matrix_forward, 4.0);
  EXPECT_DOUBLE_EQ(gain.mean_matrix_backward, 4.0);
}

TEST_F(AgreeTest, BubbleIsIdleTimeUntilTheLastRankIsDone) {
  EXPECT_DOUBLE_EQ(Agree().bubble, 1.0 - 150.0 / 400.0);
}

TEST_F(AgreeTest, AnyRankStopsAll) {
  shares_[1].stop = true;
  EXPECT_TRUE(Agree().stop);
}

TEST_F(AgreeTest, WhatIsNotFiniteAnywhereSkipsEverywhere) {
  shares_[0].norm.non_finite = 1;
  EXPECT_TRUE(Agree().skip);
  EXPECT_EQ(Agree().non_finite, 1);
  shares_[0].norm.non_finite = 0;
  shares_[1].norm.squared = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(Agree().skip);
  shares_[1].norm.squared = 1.0;
  StageSums sums;
  sums.loss = std::numeric_limits<double>::quiet_NaN();
  sums.target_tokens = 9;
  sums.sublayers = {SubLayerOf(2.0)};
  stages_[1] = std::make_unique<SummedStage>(UnitRange{2, 4}, sums);
  shares_[1].stages = {stages_[1].get()};
  EXPECT_TRUE(Agree().skip);
}

TEST_F(AgreeTest, HoldersOfOneStageAddUp) {
  // DualPipe: both ranks have run the second stage on half of the micro-batches.
  shares_[0].stages.push_back(stages_[1].get());
  const Agreement agreed = Agree();
  EXPECT_EQ(agreed.target_tokens, 18);
  EXPECT_DOUBLE_EQ(agreed.loss, 4.0);
  EXPECT_DOUBLE_EQ(agreed.gain.forward_by_sublayer[1], 4.0);
}

TEST(AgreementTest, NothingAgreedMeansSkip) { EXPECT_TRUE(Agreement().skip); }

// One parameter that decays and one that does not, on one rank.
class OptimizerTest : public ::testing::Test {
 protected:
  OptimizerTest() : device_(NewCpuDevice()) {
    plan_.num_ranks = 1;
    plan_.ranks.resize(1);
    for (const char* name : {"decays", "stays"}) {
      PlannedParameter parameter;
      parameter.spec.name = name;
      parameter.spec.shape = {3};
      parameter.spec.decay = parameter.spec.name == "decays";
      parameter.spec.initializer = Initializer::kConstant;
      parameter.spec.scale = 1.0;
      parameter.ranks = {0};
      plan_.parameters.push_back(parameter);
    }
    spec_.lr_schedule.kind = LrScheduleKind::kConstant;
    spec_.lr_schedule.warmup_steps = 0;
    spec_.optimizer.lr = 0.1;
    spec_.optimizer.weight_decay = 0.5;
    store_ = *ParameterStore::Create(plan_, 0, 0, spec_, *device_);
    optimizer_ = std::make_unique<AdamWOptimizer>(spec_, *store_);
    agreed_.skip = false;
  }
  const ParameterStore::Slot& Slot(int i) const { return store_->slots()[i]; }

  Plan plan_;
  JobSpec spec_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<AdamWOptimizer> optimizer_;
  Agreement agreed_;
};

TEST_F(OptimizerTest, DecaysOnlyWhatDecaysAndClearsGradients) {
  Slot(0).gradient[0] = Slot(1).gradient[0] = 2.0f;
  optimizer_->Apply(0, 1, agreed_);
  // The first update is lr times the gradient's sign; element 1 had no gradient.
  EXPECT_FLOAT_EQ(Slot(0).weight[0], 1.0f - 0.1f * 0.5f - 0.1f);
  EXPECT_FLOAT_EQ(Slot(0).weight[1], 1.0f - 0.1f * 0.5f);
  EXPECT_FLOAT_EQ(Slot(1).weight[0], 1.0f - 0.1f);
  EXPECT_FLOAT_EQ(Slot(1).weight[1], 1.0f);
  EXPECT_EQ(Slot(0).gradient[0], 0.0f);
}

TEST_F(OptimizerTest, SkippedStepLeavesEverythingButTheGradients) {
  Slot(0).gradient[0] = std::numeric_limits<float>::quiet_NaN();
  agreed_.skip = true;
  optimizer_->Apply(0, 1, agreed_);
  EXPECT_EQ(Slot(0).weight[0], 1.0f);
  EXPECT_EQ(Slot(0).first_moment[0], 0.0f);
  EXPECT_EQ(Slot(0).gradient[0], 0.0f);
}

TEST_F(OptimizerTest, NormCountsOwnedParametersOnly) {
  Slot(0).gradient[0] = 3.0f;
  Slot(1).gradient[2] = 4.0f;
  EXPECT_DOUBLE_EQ(optimizer_->OwnedNorm().squared, 25.0);
  plan_.num_replicas = 2;
  const auto replica = *ParameterStore::Create(plan_, 0, /*replica=*/1, spec_, *device_);
  replica->slots()[0].gradient[0] = 3.0f;
  EXPECT_EQ(AdamWOptimizer(spec_, *replica).OwnedNorm().squared, 0.0);
}

}  // namespace
}  // namespace birkhoff
