// StageModule on streams: the same work as TransformerStage, with the weights of the rank's store.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"
#include "worker/stage.h"

namespace birkhoff {
namespace {

constexpr int64_t kTokens = 12;

Plan OneRank(const ModelSpec& model) {
  Plan plan;
  plan.num_ranks = plan.num_replicas = 1;
  plan.buckets.resize(1);
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      if (model.tie_embeddings && unit > 0 && parameter.name == "embedding.weight") continue;
      plan.parameters.push_back({.spec = parameter, .stages = {0}, .ranks = {0}});
    }
  }
  return plan;
}

class CpuStageTest : public testing::Test {
 protected:
  CpuStageTest() {
    spec_.model = SmallModel(ResidualKind::kMhc);
    spec_.model.tie_embeddings = true;
    store_ = ParameterStore::Create(OneRank(spec_.model), 0, 0, spec_, *device_).value();
    const LayoutRequest request = {.model = spec_.model,
                                   .units = {0, NumUnits(spec_.model)},
                                   .recompute_block = 2,
                                   .tokens = kTokens,
                                   .sequence_length = kTokens};
    stage_ = NewCpuStage(request, *store_);
    for (int home = 0; home < kNumHomes; ++home) {
      const int64_t bytes = stage_->layout().bytes[home];
      if (bytes == 0) continue;
      memory_.push_back(device_->Allocate(bytes).value());
      buffers_.at[home] = memory_.back()->data();
    }
  }

  void Load(const TestBatch& batch) {
    WriteMicrobatch(stage_->layout(), batch.sequence_lengths, batch.inputs, batch.targets,
                    buffers_.Of(Home::kBatch));
  }

  JobSpec spec_;
  std::unique_ptr<Device> device_ = NewCpuDevice();
  std::unique_ptr<Stream> stream_ = device_->NewStream("compute");
  std::unique_ptr<ParameterStore> store_;
  std::unique_ptr<StageModule> stage_;
  std::vector<std::unique_ptr<DeviceMemory>> memory_;
  StageBuffers buffers_;
};

TEST_F(CpuStageTest, DoesOnAStreamWhatTransformerStageDoes) {
  const TestBatch batch = RandomBatch({7, 5}, spec_.model.vocab_size, /*seed=*/41);
  Load(batch);
  stage_->ResetSums(*stream_);
  stage_->Forward(*stream_, buffers_, StageMode::kTrain);
  for (const UnitRange segment : {UnitRange{3, 6}, UnitRange{0, 3}}) {
    stage_->Recompute(*stream_, segment, buffers_);
    stage_->BackwardInput(*stream_, segment, buffers_, batch.NumTargets());
    stage_->BackwardWeight(*stream_, segment, buffers_);
  }
  stream_->Synchronize();

  Parameters<float> parameters;
  for (const auto& slot : store_->slots()) {
    parameters.Add(slot.spec.name, {slot.weight, slot.weight + slot.count});
  }
  StageChain<float> chain({.model = spec_.model, .capacity = kTokens}, parameters);
  EXPECT_EQ(stage_->sums().loss, chain.Train(batch));
  EXPECT_EQ(stage_->sums().target_tokens, batch.NumTargets());
  for (const auto& slot : store_->slots()) {
    EXPECT_EQ(std::vector<float>(slot.gradient, slot.gradient + slot.count),
              parameters.gradients.at(slot.spec.name))
        << slot.spec.name;
  }
}

TEST_F(CpuStageTest, FullBackwardAndEvaluation) {
  const TestBatch batch = RandomBatch({12}, spec_.model.vocab_size, /*seed=*/42);
  Load(batch);
  stage_->Forward(*stream_, buffers_, StageMode::kEvaluate);
  stream_->Synchronize();
  const double loss = stage_->sums().loss;
  stage_->ResetSums(*stream_);
  stage_->Forward(*stream_, buffers_, StageMode::kTrain);
  stage_->Recompute(*stream_, {3, 5}, buffers_);
  stage_->Backward(*stream_, {3, 6}, buffers_, batch.NumTargets());
  stream_->Synchronize();
  EXPECT_NEAR(stage_->sums().loss, loss, 1e-6 * loss);
  const auto* slot = store_->Find("sublayers.3.ffn.down.weight");
  EXPECT_TRUE(std::any_of(slot->gradient, slot->gradient + slot->count,
                          [](float value) { return value != 0.0f; }));
}

TEST_F(CpuStageTest, EndsTheProcessWhereATokenIsOutsideTheVocabulary) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  TestBatch batch = RandomBatch({4}, spec_.model.vocab_size, /*seed=*/43);
  batch.inputs[2] = spec_.model.vocab_size;
  Load(batch);
  EXPECT_DEATH(
      {
        stage_->Forward(*stream_, buffers_, StageMode::kTrain);
        stream_->Synchronize();
      },
      "INVALID_ARGUMENT");
}

}  // namespace
}  // namespace birkhoff
