// What a rank computes with is what its plan, its store and its device say.
#include "worker/rank_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "core/plan/compile.h"
#include "core/plan/memory.h"
#include "tests/testing/device_vector.h"
#include "tests/testing/test_device.h"
#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"

namespace birkhoff {
namespace {

using testing::ToHost;

constexpr int kTokens = 12;

// One rank, one stage of embedding 0, sub-layers 1 to 4 in blocks of two, head 5.
JobSpec Spec() {
  JobSpec spec;
  spec.model = SmallModel(ResidualKind::kMhc);
  spec.model.tie_embeddings = true;
  spec.training.sequence_length = kTokens;
  spec.training.micro_batch_size = 1;
  spec.training.global_batch_size = 2;
  spec.parallelism = {.pipeline_parallel_degree = 1,
                      .data_parallel_degree = 1,
                      .schedule = ScheduleKind::k1F1B,
                      .recompute = 2};
  if (TestDeviceName() == "cuda") spec.device = DeviceKind::kCuda;
  spec.training.precision = PrecisionKind::kFp32;
  spec.training.deterministic = Toggle::kTrue;
  return spec;
}

class RankModelTest : public ::testing::Test {
 protected:
  RankModelTest() {
    for (int home = 0; home < kNumHomes; ++home) {
      const int64_t bytes = stage_->layout().bytes[home];
      if (bytes == 0) continue;
      memory_.push_back(device_->Allocate(bytes).value());
      buffers_.at[home] = memory_.back()->data();
    }
  }

  void Load(const TestBatch& batch) {
    packed_ = std::make_unique<PackedSequences>(batch.sequence_lengths);
    buffers_.batch = packed_->shape();
    std::vector<std::byte> image(stage_->layout().BytesOf(Home::kBatch));
    WritePositions(stage_->layout(), packed_->shape(), image.data());
    const MicrobatchTokens tokens = TokensOf(stage_->layout(), image.data());
    std::copy(batch.inputs.begin(), batch.inputs.end(), tokens.inputs.begin());
    std::copy(batch.targets.begin(), batch.targets.end(), tokens.targets.begin());
    stream_->Upload(buffers_.Of(Home::kBatch), image.data(), static_cast<int64_t>(image.size()));
    stream_->Synchronize();
  }
  double Share(int64_t at) { return ToHost(*device_, state_->share() + at, 1).front(); }
  std::vector<float> Gradient(const ParameterStore::Slot& slot) {
    return ToHost(*device_, slot.gradient, slot.count);
  }

  const JobSpec spec_ = Spec();
  const Plan plan_ = CompilePlan(spec_, {}).value();
  const std::unique_ptr<Device> device_ = NewTestDevice();
  const std::unique_ptr<Stream> stream_ = device_->NewStream("compute");
  const std::unique_ptr<StepState> state_ = StepState::Create(spec_.model, 1, *device_).value();
  const std::unique_ptr<ParameterStore> store_ =
      ParameterStore::Create(plan_, 0, 0, spec_, *device_).value();
  const std::unique_ptr<RankModel> model_ =
      BuildRankModel(plan_, 0, spec_, *store_, *state_, *device_).value();
  StageModule* const stage_ = model_->stage(0);
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  std::unique_ptr<PackedSequences> packed_;
  StageBuffers buffers_;
};

TEST_F(RankModelTest, DoesWhatTheStageDoesWithTheWeightsOfTheStore) {
  const TestBatch batch = RandomBatch({7, 5}, spec_.model.vocab_size, /*seed=*/41);
  Load(batch);
  stage_->Forward(*stream_, buffers_, StageMode::kTrain, batch.NumTargets());
  for (const UnitRange segment : {UnitRange{3, 6}, UnitRange{0, 3}}) {
    stage_->Recompute(*stream_, segment, buffers_);
    stage_->BackwardInput(*stream_, segment, buffers_);
    stage_->BackwardWeight(*stream_, segment, buffers_);
  }
  stream_->Synchronize();

  Parameters<float> parameters;
  for (const auto& slot : store_->slots()) {
    parameters.Add(slot.spec.name, ToHost(*device_, slot.weight, slot.count));
  }
  StageChain<float> chain({.model = spec_.model, .capacity = kTokens}, parameters);
  EXPECT_EQ(Share(ShareLayout::kLoss), chain.Train(batch));
  EXPECT_EQ(Share(ShareLayout::kTargets), static_cast<double>(batch.NumTargets()));
  for (const auto& slot : store_->slots()) {
    EXPECT_EQ(Gradient(slot), parameters.gradients.at(slot.spec.name)) << slot.spec.name;
  }
}

TEST_F(RankModelTest, FullBackwardAndEvaluation) {
  const TestBatch batch = RandomBatch({12}, spec_.model.vocab_size, /*seed=*/42);
  Load(batch);
  stage_->Forward(*stream_, buffers_, StageMode::kEvaluate, 0);
  stream_->Synchronize();
  const double loss = Share(ShareLayout::kLoss);
  state_->Reset(*stream_);
  stage_->Forward(*stream_, buffers_, StageMode::kTrain, batch.NumTargets());
  stage_->Recompute(*stream_, {3, 5}, buffers_);
  stage_->Backward(*stream_, {3, 6}, buffers_);
  stream_->Synchronize();
  EXPECT_NEAR(Share(ShareLayout::kLoss), loss, 1e-6 * loss);
  const std::vector<float> gradient = Gradient(*store_->Find("sublayers.3.ffn.down.weight"));
  EXPECT_TRUE(std::ranges::any_of(gradient, [](float value) { return value != 0.0f; }));
}

TEST_F(RankModelTest, OptimizerStepsTheStore) {
  const TestBatch batch = RandomBatch({12}, spec_.model.vocab_size, /*seed=*/44);
  Load(batch);
  const ParameterStore::Slot& slot = *store_->Find("sublayers.3.ffn.down.weight");
  const std::vector<float> before = ToHost(*device_, slot.weight, slot.count);
  state_->SetLearningRate(*stream_, 0.01);
  stage_->Forward(*stream_, buffers_, StageMode::kTrain, batch.NumTargets());
  stage_->Recompute(*stream_, {3, 5}, buffers_);
  stage_->Backward(*stream_, {3, 6}, buffers_);
  model_->optimizer().AddNorm(*stream_);
  Copy(*stream_, state_->gathered(), DevicePtr<const double>(state_->share()),
       state_->layout().length());
  model_->optimizer().Decide(*stream_);
  model_->optimizer().Step(*stream_);
  stream_->Synchronize();
  EXPECT_GT(Share(ShareLayout::kSquaredNorm), 0.0);
  EXPECT_NE(ToHost(*device_, slot.weight, slot.count), before);
  // A product's gradient stays until the next one takes its place; the others are added to.
  EXPECT_NE(Gradient(slot), std::vector<float>(slot.count, 0.0f));
  const ParameterStore::Slot& norm = *store_->Find("sublayers.3.norm.weight");
  EXPECT_EQ(Gradient(norm), std::vector<float>(norm.count, 0.0f));
}

TEST_F(RankModelTest, HasTheStagesOfItsRankOnly) {
  JobSpec spec = spec_;
  spec.parallelism.pipeline_parallel_degree = 2;
  const Plan plan = CompilePlan(spec, {}).value();
  ASSERT_EQ(plan.NumStages(), 2);
  for (const int rank : {0, 1}) {
    const std::unique_ptr<Device> device = NewTestDevice();
    const auto state = StepState::Create(spec.model, 2, *device).value();
    const auto store = ParameterStore::Create(plan, rank, 0, spec, *device).value();
    const auto model = BuildRankModel(plan, rank, spec, *store, *state, *device).value();
    EXPECT_EQ(model->stage(1 - rank), nullptr);
    ASSERT_NE(model->stage(rank), nullptr);
    EXPECT_EQ(model->stage(rank)->layout().units, plan.stages[rank].units);
  }
}

TEST_F(RankModelTest, RefusesAPlanForAnotherProcessor) {
  Plan plan = plan_;
  const bool on_cpu = device_->processor() == Processor::kCpu;
  plan.processor = on_cpu ? Processor::kCuda : Processor::kCpu;
  const absl::Status status = BuildRankModel(plan, 0, spec_, *store_, *state_, *device_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), on_cpu ? "the plan is for cuda; this worker's device is cpu"
                                     : "the plan is for cpu; this worker's device is cuda:0");
}

TEST_F(RankModelTest, EndsTheProcessWhereATokenIsOutsideTheVocabulary) {
  BIRKHOFF_SKIP_HOST_WORK_ON_GPU();
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  TestBatch batch = RandomBatch({4}, spec_.model.vocab_size, /*seed=*/43);
  batch.inputs[2] = spec_.model.vocab_size;
  Load(batch);
  EXPECT_DEATH(
      {
        stage_->Forward(*stream_, buffers_, StageMode::kTrain, batch.NumTargets());
        stream_->Synchronize();
      },
      "INVALID_ARGUMENT");
}

}  // namespace
}  // namespace birkhoff
