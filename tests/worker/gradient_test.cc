// The hand-written backward pass of the whole model against central differences, in float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "tests/testing/figure.h"
#include "tests/worker/small_model.h"
#include "tests/worker/stage_chain.h"

namespace birkhoff {
namespace {

constexpr double kTolerance = 1e-6;  // of max |g| of the tensor
constexpr double kVanished = 1e-6;   // below this a gradient shows nothing

struct Case {
  std::string name;
  ModelSpec model;
  std::vector<int> cuts;
};

ModelSpec Tied(ModelSpec model) {
  model.tie_embeddings = true;
  return model;
}

ModelSpec SumOfCopies(ModelSpec model) {
  model.residual.expand = ExpandKind::kCopy;
  model.residual.contract = ContractKind::kSum;
  return model;
}

// Each row of the mappings' table, at three streams.
std::vector<Case> CasesOfMappings() {
  std::vector<Case> cases;
  for (size_t row = 0; row < kMappings.size(); ++row) {
    ModelSpec model = SmallModel(ResidualKind::kMhc, static_cast<MappingKind>(row));
    model.residual.streams = 3;
    // The norm would hide the scale of what the first sub-layer reads.
    model.rms_norm_eps = 0.1;
    cases.push_back({std::string("Mhc_") + kMappings[row].name, model, {}});
  }
  return cases;
}

std::vector<Case> Cases() {
  const ModelSpec residual = SmallModel(ResidualKind::kResidual);
  const ModelSpec hc = SmallModel(ResidualKind::kHc), mhc = SmallModel(ResidualKind::kMhc);
  const ModelSpec identity = SmallModel(ResidualKind::kMhc, MappingKind::kIdentity);
  return {{"Residual", residual, {}},
          {"ResidualTiedTwoStages", Tied(residual), {2}},
          {"Hc", hc, {}},
          {"HcTwoStages", hc, {3}},
          {"Mhc", mhc, {}},
          {"MhcTwoStages", mhc, {3}},
          {"MhcTied", Tied(mhc), {}},
          {"MhcTiedEmbeddingAndHeadAlone", Tied(mhc), {1, 5}},
          {"MhcCopySum", SumOfCopies(mhc), {2}},
          {"MhcIdentityTwoStages", identity, {4}}};
}

double MaxAbs(const std::vector<double>& values) {
  double largest = 0.0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

std::string KindFigure(const ModelSpec& model) {
  switch (model.residual.kind) {
    case ResidualKind::kResidual:
      return "float64 gradients against central differences, residual";
    case ResidualKind::kHc:
      return "float64 gradients against central differences, hc";
    case ResidualKind::kMhc:
      return "float64 gradients against central differences, mhc";
  }
  return "";
}

class GradientTest : public testing::TestWithParam<Case> {};

// Of fourth order: the error of the second-order quotient, step^2 / 6 times the third derivative,
// would hide a tolerance of 1e-6 where the norm of a small u bends the loss sharply.
double CentralDifference(StageChain<double>& chain, const TestBatch& batch, double& value) {
  constexpr double kStep = 1e-5;
  const double kept = value;
  const auto loss_at = [&](double steps) {
    value = kept + steps * kStep;
    chain.ResetSums();
    return chain.Forward(batch, StageMode::kEvaluate);
  };
  const double near = loss_at(1.0) - loss_at(-1.0), far = loss_at(2.0) - loss_at(-2.0);
  value = kept;
  return (8.0 * near - far) / (12.0 * kStep * static_cast<double>(batch.NumTargets()));
}

TEST_P(GradientTest, EqualsCentralDifferences) {
  const ModelSpec& model = GetParam().model;
  Parameters<double> parameters = RandomParameters<double>(model, /*seed=*/1);
  StageChain<double> chain({.model = model, .cuts = GetParam().cuts}, parameters);
  const TestBatch batch = RandomBatch({5, 3, 1}, model.vocab_size, /*seed=*/2);
  chain.Train(batch);
  for (auto& [name, values] : parameters.values) {
    const std::vector<double>& gradient = parameters.gradients.at(name);
    const double scale = MaxAbs(gradient);
    ASSERT_GT(scale, kVanished) << name;
    double worst = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double difference = CentralDifference(chain, batch, values[i]);
      worst = std::max(worst, std::abs(gradient[i] - difference));
    }
    EXPECT_LE(worst, kTolerance * scale) << name;
    Worst(KindFigure(model), worst / scale);
  }
}

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

INSTANTIATE_TEST_SUITE_P(Kinds, GradientTest, testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Mappings, GradientTest, testing::ValuesIn(CasesOfMappings()),
                         [](const auto& test) { return test.param.name; });

// The three parts of the connection's parameters, each large enough to be seen in the check above.
TEST(GradientPoint, LetsEveryPartOfTheConnectionSpeak) {
  for (const ResidualKind kind : {ResidualKind::kHc, ResidualKind::kMhc}) {
    const ModelSpec model = SmallModel(kind);
    const std::string prefix = kind == ResidualKind::kHc ? "hc." : "mhc.";
    Parameters<double> parameters = RandomParameters<double>(model, /*seed=*/1);
    StageChain<double> chain({.model = model}, parameters);
    chain.Train(RandomBatch({5, 3, 1}, model.vocab_size, /*seed=*/2));
    // The head reads the mean of the streams: the last mixing matrix cannot matter to it.
    for (int sublayer = 0; sublayer + 1 < NumSubLayers(model); ++sublayer) {
      const std::string name = "sublayers." + std::to_string(sublayer) + "." + prefix;
      const std::vector<double>& alpha = parameters.gradients.at(name + "alpha");
      const std::vector<double>& bias = parameters.gradients.at(name + "bias");
      for (int part = 0; part < 3; ++part) {
        EXPECT_GT(std::abs(alpha[part]), kVanished) << name << "alpha " << part;
        const int first = part * 4, last = part == 2 ? 24 : first + 4;
        EXPECT_GT(MaxAbs({bias.begin() + first, bias.begin() + last}), kVanished)
            << name << "bias " << part;
      }
    }
  }
}

TEST(Gradient, DoesNotDependOnTheCut) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    const ModelSpec model = SmallModel(kind);
    const TestBatch batch = RandomBatch({4, 4}, model.vocab_size, /*seed=*/3);
    Parameters<double> whole = RandomParameters<double>(model, /*seed=*/4), cut = whole;
    const double loss = StageChain<double>({.model = model}, whole).Train(batch);
    StageChain<double> chain({.model = model, .cuts = {1, 2, 4, 5}}, cut);
    EXPECT_EQ(chain.Train(batch), loss);
    EXPECT_EQ(cut.gradients, whole.gradients);
  }
}

}  // namespace
}  // namespace birkhoff
