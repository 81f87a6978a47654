// The end of a step on one rank, over the kernels of the tests' device.
#include "worker/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "core/plan/memory.h"
#include "tests/testing/device_vector.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

using testing::ToDevice;
using testing::ToHost;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// A parameter that decays and one that does not, both ones at first, on one rank.
Plan OneRank(const ModelSpec& model, Processor processor) {
  Plan plan;
  plan.processor = processor;
  plan.ranks.resize(1);
  for (const char* name : {"decays", "stays"}) {
    PlannedParameter parameter;
    parameter.spec.name = name;
    parameter.spec.shape = {3};
    parameter.spec.decay = parameter.spec.name == "decays";
    parameter.spec.initializer = Initializer::kConstant;
    parameter.spec.scale = 1.0;
    parameter.ranks = {0};
    plan.parameters.push_back(parameter);
  }
  plan.ranks[0].memory = MemoryByRank(plan, model, {})[0];
  return plan;
}

// The optimizer with all that it works on.
class Trainee {
 public:
  Trainee(const JobSpec& spec, const Plan& plan, int replica = 0)
      : spec_(spec),
        store_(ParameterStore::Create(plan, 0, replica, spec_, *device_).value()),
        optimizer_(NewOptimizer(spec_, *store_, *state_, *backend_, *device_,
                                BytesOf(plan.ranks[0], kNormWorkspaceItem))
                       .value()) {
    SetLearningRate(0.1);
  }

  void SetLearningRate(double lr) {
    state_->SetLearningRate(*stream_, lr);
    stream_->Synchronize();
  }
  // One step of this rank alone.
  void Step(const std::vector<float>& decays, const std::vector<float>& stays) {
    SetGradient(0, decays);
    SetGradient(1, stays);
    state_->Reset(*stream_);
    optimizer_->AddNorm(*stream_);
    Copy(*stream_, state_->gathered(), DevicePtr<const double>(state_->share()),
         state_->layout().length());
    optimizer_->Decide(*stream_);
    optimizer_->Step(*stream_);
    stream_->Synchronize();
  }
  void SetGradient(int slot, const std::vector<float>& values) {
    ToDevice(*device_, Slot(slot).gradient, values);
  }
  // Squared norm and non-finite elements.
  std::vector<double> AddNorm() {
    state_->Reset(*stream_);
    optimizer_->AddNorm(*stream_);
    stream_->Synchronize();
    return ToHost(*device_, state_->share() + ShareLayout::kSquaredNorm, 2);
  }

  Device& device() { return *device_; }
  Stream& stream() { return *stream_; }
  StepState& state() { return *state_; }
  std::vector<float> Weight(int slot) { return Values(Slot(slot).weight); }
  std::vector<float> Gradient(int slot) { return Values(Slot(slot).gradient); }
  std::vector<float> FirstMoment(int slot) { return Values(Slot(slot).first_moment); }
  std::vector<float> SecondMoment(int slot) { return Values(Slot(slot).second_moment); }
  StepScalars Scalars() { return ToHost(*device_, state_->scalars(), 1).front(); }

 private:
  const ParameterStore::Slot& Slot(int i) const { return store_->slots()[i]; }
  std::vector<float> Values(DevicePtr<float> data) { return ToHost(*device_, data, 3); }

  const JobSpec spec_;
  const std::unique_ptr<Device> device_ = NewTestDevice();
  const std::unique_ptr<Stream> stream_ = device_->NewStream("optimizer test");
  const std::unique_ptr<Backend<float>> backend_ = NewBackend<float>(*device_, {}).value();
  const std::unique_ptr<StepState> state_ = StepState::Create(spec_.model, 1, *device_).value();
  const std::unique_ptr<ParameterStore> store_;
  const std::unique_ptr<Optimizer> optimizer_;
};

class OptimizerTest : public ::testing::Test {
 protected:
  OptimizerTest() {
    spec_.training.clip_grad = 0.0;
    spec_.optimizer.weight_decay = 0.5;
    plan_ = OneRank(spec_.model, NewTestDevice()->processor());
  }

  JobSpec spec_;
  Plan plan_;
};

TEST_F(OptimizerTest, DecaysOnlyWhatDecaysAndClearsGradients) {
  Trainee trainee(spec_, plan_);
  trainee.Step({2, 0, 0}, {2, 0, 0});
  // The first update is lr times the gradient's sign; element 1 had no gradient.
  EXPECT_FLOAT_EQ(trainee.Weight(0)[0], 1.0f - 0.1f * 0.5f - 0.1f);
  EXPECT_FLOAT_EQ(trainee.Weight(0)[1], 1.0f - 0.1f * 0.5f);
  EXPECT_FLOAT_EQ(trainee.Weight(1)[0], 1.0f - 0.1f);
  EXPECT_FLOAT_EQ(trainee.Weight(1)[1], 1.0f);
  for (const int slot : {0, 1}) EXPECT_EQ(trainee.Gradient(slot), std::vector<float>(3, 0.0f));
}

TEST_F(OptimizerTest, SkippedStepLeavesEverythingButTheGradients) {
  Trainee trainee(spec_, plan_);
  trainee.Step({2, -1, 0.5}, {1, 0, 3});
  const std::vector<float> weight = trainee.Weight(0), first = trainee.FirstMoment(0),
                           second = trainee.SecondMoment(0), other = trainee.Weight(1);
  trainee.Step({kNan, 1, 1}, {4, 4, 4});
  EXPECT_EQ(trainee.Scalars().skip, 1);
  EXPECT_EQ(trainee.Scalars().update, 1);
  EXPECT_EQ(trainee.Weight(0), weight);
  EXPECT_EQ(trainee.FirstMoment(0), first);
  EXPECT_EQ(trainee.SecondMoment(0), second);
  EXPECT_EQ(trainee.Weight(1), other);
  for (const int slot : {0, 1}) EXPECT_EQ(trainee.Gradient(slot), std::vector<float>(3, 0.0f));
}

TEST_F(OptimizerTest, SkippedStepsAreNoUpdates) {
  Trainee disturbed(spec_, plan_), calm(spec_, plan_);
  for (Trainee* trainee : {&disturbed, &calm}) {
    trainee->Step({2, -1, 0.5}, {1, 0, 3});
    if (trainee == &disturbed) trainee->Step({kNan, 1, 1}, {1, 1, 1});
    trainee->Step({-1, 0.25, 2}, {0, 1, -3});
    EXPECT_EQ(trainee->Scalars().update, 2);
    EXPECT_EQ(trainee->Scalars().skip, 0);
  }
  for (const int slot : {0, 1}) EXPECT_EQ(disturbed.Weight(slot), calm.Weight(slot));
}

TEST_F(OptimizerTest, GoesOnFromTheUpdatesThatWereMade) {
  Trainee trainee(spec_, plan_);
  trainee.state().SetUpdates(trainee.stream(), 9);
  trainee.SetLearningRate(0.1);
  trainee.Step({2, 0, 0}, {2, 0, 0});
  EXPECT_EQ(trainee.Scalars().update, 10);
  // Moments of one gradient g after ten updates:
  // (0.1 / (1 - 0.9^10)) g and (0.05 / (1 - 0.95^10)) g^2.
  const double step = 0.1 * (0.1 / 0.65132156) / std::sqrt(0.05 / 0.40126306);
  EXPECT_NEAR(trainee.Weight(1)[0], 1.0 - step, 1e-6);
}

TEST_F(OptimizerTest, LearningRateIsTheStates) {
  Trainee trainee(spec_, plan_);
  trainee.SetLearningRate(0.0);
  trainee.Step({2, 0, 0}, {2, 0, 0});
  for (const int slot : {0, 1}) EXPECT_EQ(trainee.Weight(slot), std::vector<float>(3, 1.0f));
  Trainee fast(spec_, plan_);
  fast.SetLearningRate(0.25);
  fast.Step({2, 0, 0}, {2, 0, 0});
  EXPECT_FLOAT_EQ(fast.Weight(1)[0], 0.75f);
}

TEST_F(OptimizerTest, ClipsByTheNormOfAllGradients) {
  spec_.training.clip_grad = 1.0;
  Trainee trainee(spec_, plan_);
  trainee.Step({3, 0, 0}, {0, 0, 4});
  EXPECT_DOUBLE_EQ(trainee.Scalars().clip_scale, 0.2);
  EXPECT_FLOAT_EQ(trainee.FirstMoment(0)[0], 0.1f * 0.2f * 3.0f);
}

TEST_F(OptimizerTest, NormCountsOwnedParametersOnly) {
  plan_.num_replicas = 2;
  Trainee owner(spec_, plan_), replica(spec_, plan_, /*replica=*/1);
  for (Trainee* trainee : {&owner, &replica}) {
    trainee->SetGradient(0, {3, 0, 0});
    trainee->SetGradient(1, {0, kNan, 4});
  }
  EXPECT_EQ(owner.AddNorm(), (std::vector<double>{25, 1}));
  EXPECT_EQ(replica.AddNorm(), (std::vector<double>{0, 0}));
}

TEST_F(OptimizerTest, TakesWhatThePlanCounts) {
  Trainee trainee(spec_, plan_);
  EXPECT_EQ(trainee.device().allocated_bytes(), DeviceBytes(plan_.ranks[0]));
}

TEST_F(OptimizerTest, RankWithoutParametersHasNothingToDo) {
  plan_.parameters.clear();
  plan_.ranks[0].memory = MemoryByRank(plan_, spec_.model, {})[0];
  const std::unique_ptr<Device> device = NewTestDevice();
  const auto backend = NewBackend<float>(*device, {}).value();
  const auto state = StepState::Create(spec_.model, 1, *device).value();
  const auto store = ParameterStore::Create(plan_, 0, 0, spec_, *device).value();
  const auto optimizer = NewOptimizer(spec_, *store, *state, *backend, *device, 0).value();
  const std::unique_ptr<Stream> stream = device->NewStream("test");
  optimizer->AddNorm(*stream);
  optimizer->Step(*stream);
  stream->Synchronize();
  EXPECT_EQ(ToHost(*device, state->share() + ShareLayout::kSquaredNorm, 1).front(), 0.0);
}

}  // namespace
}  // namespace birkhoff
