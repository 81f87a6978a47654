// The whole model on a GPU against the float64 reference on the CPU, at random points where nothing
// vanishes.  Runs where BIRKHOFF_TEST_DEVICE=cuda (tests/gpu.sh).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <string>
#include <vector>

#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"

namespace birkhoff {
namespace {

constexpr double kLossTolerance = 1e-6;      // fp32, relative
constexpr double kGradientTolerance = 1e-4;  // fp32, of max |g| of the tensor
constexpr double kVanished = 1e-6;           // below this a gradient shows nothing
constexpr double kGainTolerance = 1e-3;

struct Case {
  std::string name;
  ModelSpec model;
  std::vector<int> cuts = {};
  int recompute_block = 0;
};

// Heads of 16 that cuDNN can take, grouped queries, odd sizes elsewhere.
ModelSpec Medium(ModelSpec model) {
  model.vocab_size = 259;
  model.hidden_size = 64;
  model.num_hidden_layers = 3;
  model.intermediate_size = 104;
  return model;
}

ModelSpec Tied(ModelSpec model) {
  model.tie_embeddings = true;
  return model;
}

std::vector<Case> Cases() {
  const ModelSpec residual = Medium(SmallModel(ResidualKind::kResidual));
  const ModelSpec hc = Medium(SmallModel(ResidualKind::kHc));
  const ModelSpec mhc = Medium(SmallModel(ResidualKind::kMhc));
  ModelSpec copies = mhc;
  copies.residual.expand = ExpandKind::kCopy;
  ModelSpec eight = mhc;
  eight.residual.streams = 8;
  return {{"Residual", residual},
          {"ResidualTied", Tied(residual)},
          {"Hc", hc},
          {"HcTwoStages", hc, {3}},
          {"Mhc", mhc},
          {"MhcTied", Tied(mhc)},
          {"MhcCopies", copies},
          {"MhcRecompute", mhc, {4}, 2},
          {"MhcEightStreams", eight},
          {"MhcPermutations", Medium(SmallModel(ResidualKind::kMhc, MappingKind::kPermutations))},
          {"MhcIdentity", Medium(SmallModel(ResidualKind::kMhc, MappingKind::kIdentity))},
          {"MhcSmall", SmallModel(ResidualKind::kMhc)}};
}

template <typename T>
Parameters<T> Converted(const Parameters<double>& from, bool rounded_products) {
  Parameters<T> to;
  for (const auto& [name, values] : from.values) {
    const bool product = EndsWith(name, ".weight") && !EndsWith(name, "norm.weight");
    std::vector<T> converted;
    for (const double value : values) {
      const float single = static_cast<float>(value);
      converted.push_back(
          static_cast<T>(rounded_products && product ? ToFloat(ToBf16(single)) : single));
    }
    to.Add(name, std::move(converted));
  }
  return to;
}

ChainOptions OptionsOf(const Case& test) {
  return {.model = test.model,
          .cuts = test.cuts,
          .recompute_block = test.recompute_block,
          .capacity = 160,
          .sequence_length = 160};
}

// Of max |want|, and of the norm of want.
struct Error {
  double largest = 0.0, norm = 0.0, scale = 0.0;
};

template <typename T>
Error ErrorOf(const std::vector<T>& got, const std::vector<double>& want) {
  Error error;
  double difference = 0.0, square = 0.0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double apart = std::abs(static_cast<double>(got[i]) - want[i]);
    if (!(apart <= error.largest)) error.largest = apart;  // a NaN stays
    error.scale = std::max(error.scale, std::abs(want[i]));
    difference += apart * apart;
    square += want[i] * want[i];
  }
  error.largest /= error.scale;
  error.norm = std::sqrt(difference / square);
  return error;
}

class ModelOnGpuTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (TestDeviceName() != "cuda") GTEST_SKIP() << "needs BIRKHOFF_TEST_DEVICE=cuda";
    batch_ = RandomBatch({96, 64}, GetParam().model.vocab_size, /*seed=*/52);
    random_ = RandomParameters<double>(GetParam().model, /*seed=*/51);
  }
  TestBatch batch_;
  Parameters<double> random_;
};

TEST_P(ModelOnGpuTest, Fp32FollowsTheReference) {
  Parameters<double> reference = Converted<double>(random_, false);
  Parameters<float> parameters = Converted<float>(random_, false);
  StageChain<double> want(OptionsOf(GetParam()), reference);
  StageChain<float> got(OptionsOf(GetParam()), parameters);
  const double loss = want.Train(batch_), error = std::abs(got.Train(batch_) / loss - 1.0);
  EXPECT_LE(error, kLossTolerance);
  double worst = 0.0;
  for (const auto& [name, gradient] : reference.gradients) {
    const Error apart = ErrorOf(parameters.gradients.at(name), gradient);
    EXPECT_GT(apart.scale, kVanished) << name;
    EXPECT_LE(apart.largest, kGradientTolerance) << name;
    worst = std::max(worst, apart.largest);
  }
  std::printf("%-60s worst %.3g limit %.3g\n", ("fp32 loss, " + GetParam().name).c_str(), error,
              kLossTolerance);
  std::printf("%-60s worst %.3g limit %.3g\n", ("fp32 gradients, " + GetParam().name).c_str(),
              worst, kGradientTolerance);
}

TEST_P(ModelOnGpuTest, GainsFollowTheReference) {
  Parameters<double> reference = Converted<double>(random_, false);
  Parameters<float> parameters = Converted<float>(random_, false);
  StageChain<double> want(OptionsOf(GetParam()), reference);
  StageChain<float> got(OptionsOf(GetParam()), parameters);
  want.Train(batch_);
  got.Train(batch_);
  const auto sums = got.Sums(), truth = want.Sums();
  double worst = 0.0;
  for (size_t l = 0; l < truth.size(); ++l) {
    for (const auto& [a, b] : {std::pair{sums[l].composite_forward, truth[l].composite_forward},
                               {sums[l].composite_backward, truth[l].composite_backward},
                               {sums[l].single_forward, truth[l].single_forward},
                               {sums[l].single_backward, truth[l].single_backward}}) {
      EXPECT_NEAR(a / b, 1.0, kGainTolerance) << l;
      worst = std::max(worst, std::abs(a / b - 1.0));
    }
    EXPECT_NEAR(sums[l].row_sum_min, truth[l].row_sum_min, kGainTolerance);
    EXPECT_NEAR(sums[l].column_sum_min, truth[l].column_sum_min, kGainTolerance);
  }
  std::printf("%-60s worst %.3g limit %.3g\n", ("fp32 gains, " + GetParam().name).c_str(), worst,
              kGainTolerance);
}

// What is stored in bf16 between the loss and a gradient is rounded once each time, by at most
// u = 2^-9 of its size: per sub-layer X, norm, y and what F keeps on the way up (8 at most: X,
// norm, q, k, v or gate, up, their rotation or product, y), and as many gradients on the way down.
// Were every rounding to act on the result in full and in one direction, the relative error of a
// gradient would be 16 u a sub-layer; they act in part and in all directions, so its norm stays
// below.  The streams carry an error on with at most the composite gain: 1 for the plain residual
// and about 1 for mHC, but not for HC, whose gain multiplies the bound.  The reference computes
// with the same rounded weights.
TEST_P(ModelOnGpuTest, Bf16StaysWithinItsRoundings) {
  constexpr double kUnit = 1.0 / 512.0, kRoundings = 16.0;
  Parameters<double> reference = Converted<double>(random_, true);
  Parameters<float> parameters = Converted<float>(random_, true);
  StageChain<double> want(OptionsOf(GetParam()), reference);
  StageChain<bf16> got(OptionsOf(GetParam()), parameters);
  const double loss = want.Train(batch_), error = std::abs(got.Train(batch_) / loss - 1.0);
  double gain = 1.0;
  for (const SubLayerSums& sums : want.Sums()) {
    const double tokens = static_cast<double>(batch_.inputs.size());
    gain = std::max({gain, sums.composite_forward / tokens, sums.composite_backward / tokens});
  }
  const double limit = kUnit * kRoundings * NumSubLayers(GetParam().model) * gain;
  EXPECT_LE(error, limit / 2.0);
  double worst = 0.0;
  for (const auto& [name, gradient] : reference.gradients) {
    const Error apart = ErrorOf(parameters.gradients.at(name), gradient);
    EXPECT_LE(apart.norm, limit) << name;
    worst = std::max(worst, apart.norm);
  }
  std::printf("%-60s worst %.3g limit %.3g\n", ("bf16 loss, " + GetParam().name).c_str(), error,
              limit / 2.0);
  std::printf("%-60s worst %.3g limit %.3g\n", ("bf16 gradients, " + GetParam().name).c_str(),
              worst, limit);
}

template <typename T>
void ExpectRepeats(const Case& test, const TestBatch& batch, const Parameters<double>& random) {
  Parameters<float> first = Converted<float>(random, false), second = first;
  const double loss = StageChain<T>(OptionsOf(test), first).Train(batch);
  EXPECT_EQ(StageChain<T>(OptionsOf(test), second).Train(batch), loss);
  EXPECT_EQ(first.gradients, second.gradients);
}

TEST_P(ModelOnGpuTest, RepeatsToTheBit) {
  ExpectRepeats<float>(GetParam(), batch_, random_);
  ExpectRepeats<bf16>(GetParam(), batch_, random_);
}

TEST_P(ModelOnGpuTest, EvaluationHasTheLossOfTraining) {
  Parameters<float> parameters = Converted<float>(random_, false);
  StageChain<float> chain(OptionsOf(GetParam()), parameters);
  const double evaluated = chain.Forward(batch_, StageMode::kEvaluate);
  EXPECT_NEAR(chain.Forward(batch_, StageMode::kTrain), evaluated, 1e-6 * evaluated);
}

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

INSTANTIATE_TEST_SUITE_P(Kinds, ModelOnGpuTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace birkhoff
