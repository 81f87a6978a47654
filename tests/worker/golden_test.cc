// The model against what PyTorch's autograd says of it: golden/make_golden.py made the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/testing/figure.h"
#include "tests/worker/stage_chain.h"

namespace birkhoff {
namespace {

constexpr double kLossTolerance = 1e-6;
constexpr double kGradientTolerance = 1e-5;  // of max |g| of the tensor
constexpr double kAlphaTolerance = 1e-6;     // of AlphaTerms

struct Golden {
  ModelSpec model;
  TestBatch batch;
  double loss = 0.0;  // mean over the targets
  std::map<std::string, std::vector<float>> weights, gradients;
};

// "key rest of the line" up to the empty line.
std::vector<std::pair<std::string, std::string>> ReadHeader(std::istream& file) {
  std::vector<std::pair<std::string, std::string>> lines;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const size_t space = line.find(' ');
    lines.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return lines;
}

template <typename Number>
std::vector<Number> Numbers(const std::string& text) {  // "COUNT a b c"
  std::istringstream stream(text);
  size_t count = 0;
  stream >> count;
  std::vector<Number> numbers(count);
  for (Number& number : numbers) stream >> number;
  return numbers;
}

void SetField(const std::string& key, const std::string& value, Golden& golden) {
  ModelSpec& model = golden.model;
  const double number = std::atof(value.c_str());
  if (key == "vocab_size") model.vocab_size = static_cast<int>(number);
  if (key == "hidden_size") model.hidden_size = static_cast<int>(number);
  if (key == "num_hidden_layers") model.num_hidden_layers = static_cast<int>(number);
  if (key == "num_attention_heads") model.num_attention_heads = static_cast<int>(number);
  if (key == "num_key_value_heads") model.num_key_value_heads = static_cast<int>(number);
  if (key == "intermediate_size") model.intermediate_size = static_cast<int>(number);
  if (key == "rms_norm_eps") model.rms_norm_eps = number;
  if (key == "rope_theta") model.rope_theta = number;
  if (key == "norm_eps") model.residual.norm_eps = number;
  if (key == "sinkhorn_iterations") model.residual.sinkhorn_iterations = static_cast<int>(number);
  if (key == "streams") model.residual.streams = static_cast<int>(number);
  if (key == "tie_embeddings") model.tie_embeddings = number != 0.0;
  if (key == "expand" && value == "one-hot") model.residual.expand = ExpandKind::kOneHot;
  if (key == "kind" && value == "residual") model.residual.kind = ResidualKind::kResidual;
  if (key == "kind" && value == "hc") model.residual.kind = ResidualKind::kHc;
  for (size_t row = 0; row < kMappings.size(); ++row) {
    const bool named = key == "mapping" && value == kMappings[row].name;
    if (named) model.residual.mapping = static_cast<MappingKind>(row);
  }
  if (key == "lengths") golden.batch.sequence_lengths = Numbers<int>(value);
  if (key == "inputs") golden.batch.inputs = Numbers<int32_t>(value);
  if (key == "targets") golden.batch.targets = Numbers<int32_t>(value);
  if (key == "loss") golden.loss = number;
}

Golden ReadGolden(const std::string& name) {
  std::ifstream file("tests/worker/golden/" + name + ".golden", std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  Golden golden;
  std::vector<std::pair<std::string, size_t>> tensors;
  for (const auto& [key, value] : ReadHeader(file)) {
    SetField(key, value, golden);
    if (key != "tensor") continue;
    const size_t space = value.find(' ');
    tensors.emplace_back(value.substr(0, space), std::stoul(value.substr(space + 1)));
  }
  for (auto* group : {&golden.weights, &golden.gradients}) {
    for (const auto& [tensor, count] : tensors) {
      std::vector<float>& values = (*group)[tensor];
      values.resize(count);
      file.read(reinterpret_cast<char*>(values.data()),
                static_cast<std::streamsize>(count * sizeof(float)));
    }
  }
  EXPECT_TRUE(file.good() && file.peek() == EOF) << name << " has another size";
  return golden;
}

// mhc's alpha scales the products with phi, so alpha . dalpha = phi . dphi: a sum over tokens whose
// terms nearly cancel.  It is up to 140 times smaller than they are, and float's rounding, other
// with every library of products, is measured by them: the sum of their magnitudes, over alpha.
double AlphaTerms(const Golden& golden, const std::string& alpha, const std::string& phi) {
  const std::vector<float>&weight = golden.weights.at(phi), &gradient = golden.gradients.at(phi);
  double terms = 0.0;
  for (size_t i = 0; i < weight.size(); ++i) terms += std::abs(double(weight[i]) * gradient[i]);
  double largest = 0.0;
  for (const float value : golden.weights.at(alpha)) {
    largest = std::max(largest, std::abs(double(value)));
  }
  return terms / largest;
}

template <typename T>
void ExpectEqualsGolden(const Golden& golden, const std::vector<int>& cuts, double loss_tolerance,
                        double gradient_tolerance) {
  Parameters<T> parameters;
  for (const auto& [name, values] : golden.weights) {
    parameters.Add(name, {values.begin(), values.end()});
  }
  StageChain<T> chain({.model = golden.model, .cuts = cuts}, parameters);
  const double loss = chain.Train(golden.batch) / static_cast<double>(golden.batch.NumTargets());
  EXPECT_NEAR(loss, golden.loss, loss_tolerance * golden.loss);
  const std::string type = sizeof(T) == 4 ? "float32" : "float64";
  Worst(type + " loss against PyTorch", std::abs(loss / golden.loss - 1.0));
  for (const auto& [name, want] : golden.gradients) {
    const std::vector<T>& got = parameters.gradients.at(name);
    ASSERT_EQ(got.size(), want.size()) << name;
    double scale = 0.0, worst = 0.0;
    for (size_t i = 0; i < want.size(); ++i) {
      scale = std::max(scale, std::abs(static_cast<double>(want[i])));
      worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
    }
    EXPECT_GT(scale, 1e-6) << name;
    const std::string phi = name.substr(0, name.rfind('.')) + ".phi";
    const bool cancels = sizeof(T) == 4 && name.ends_with(".alpha") && golden.weights.contains(phi);
    const double terms = cancels ? AlphaTerms(golden, name, phi) : scale;
    EXPECT_LE(worst, (cancels ? kAlphaTolerance : gradient_tolerance) * terms) << name;
    Worst(type + (cancels ? " gradients of alpha" : " gradients") + " against PyTorch",
          worst / terms);
  }
}

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, Float32EqualsPyTorch) {
  ExpectEqualsGolden<float>(ReadGolden(GetParam()), {}, kLossTolerance, kGradientTolerance);
}

TEST_P(GoldenTest, Float32EqualsPyTorchOverTwoStages) {
  ExpectEqualsGolden<float>(ReadGolden(GetParam()), {2}, kLossTolerance, kGradientTolerance);
}

// The files hold gradients as float32: half a unit of their last digit is 6e-8.
TEST_P(GoldenTest, Float64EqualsPyTorchToTheRoundingOfTheFile) {
  ExpectEqualsGolden<double>(ReadGolden(GetParam()), {}, 1e-12, 6e-8);
}

INSTANTIATE_TEST_SUITE_P(Kinds, GoldenTest,
                         testing::Values("residual", "hc", "mhc", "mhc_tied", "mhc_permutations",
                                         "mhc_identity", "mhc_unconstrained", "mhc_deepseek",
                                         "mhc_retention", "mhc_gated", "mhc_static"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace birkhoff
