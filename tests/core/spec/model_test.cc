// The model as units: kinds, parameters, counts and FLOPs follow from the spec alone.
#include "core/spec/model.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace birkhoff {
namespace {

ModelSpec SmallModel(ResidualKind kind) {
  ModelSpec model;
  model.vocab_size = 11;
  model.hidden_size = 8;
  model.num_hidden_layers = 2;
  model.num_attention_heads = 4;
  model.num_key_value_heads = 2;
  model.intermediate_size = 12;
  model.residual.kind = kind;
  model.residual.streams = 3;
  return model;
}

// "name[shape] decay" of each parameter of a unit, one a line.
std::string Print(const ModelSpec& model, int unit) {
  std::string text;
  for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
    absl::StrAppend(&text, parameter.name, "[", absl::StrJoin(parameter.shape, ","), "]",
                    parameter.decay ? " decay" : "", "\n");
  }
  return text;
}

TEST(Model, IsARowOfUnits) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  EXPECT_EQ(NumSubLayers(model), 4);
  EXPECT_EQ(NumUnits(model), 6);
  EXPECT_EQ(KindOfUnit(model, 0), UnitKind::kEmbedding);
  EXPECT_EQ(KindOfUnit(model, 1), UnitKind::kAttention);
  EXPECT_EQ(KindOfUnit(model, 2), UnitKind::kFeedForward);
  EXPECT_EQ(KindOfUnit(model, 3), UnitKind::kAttention);
  EXPECT_EQ(KindOfUnit(model, 5), UnitKind::kHead);
  EXPECT_DEATH(KindOfUnit(model, 6), "no such unit");
}

TEST(Model, ListsParametersOfMhcInOrder) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  EXPECT_EQ(Print(model, 0), "embedding.weight[11,8] decay\n");
  EXPECT_EQ(Print(model, 1),
            "sublayers.0.norm.weight[8]\n"
            "sublayers.0.attention.qkv.weight[16,8] decay\n"
            "sublayers.0.attention.out.weight[8,8] decay\n"
            "sublayers.0.mhc.phi[24,15] decay\n"
            "sublayers.0.mhc.alpha[3]\n"
            "sublayers.0.mhc.bias[15]\n");
  EXPECT_EQ(Print(model, 4),
            "sublayers.3.norm.weight[8]\n"
            "sublayers.3.ffn.gate_up.weight[24,8] decay\n"
            "sublayers.3.ffn.down.weight[8,12] decay\n"
            "sublayers.3.mhc.phi[24,15] decay\n"
            "sublayers.3.mhc.alpha[3]\n"
            "sublayers.3.mhc.bias[15]\n");
  EXPECT_EQ(Print(model, 5), "final_norm.weight[8]\nhead.weight[11,8] decay\n");
}

TEST(Model, ListsParametersOfHcAndOfThePlainResidual) {
  EXPECT_EQ(Print(SmallModel(ResidualKind::kHc), 2),
            "sublayers.1.norm.weight[8]\n"
            "sublayers.1.ffn.gate_up.weight[24,8] decay\n"
            "sublayers.1.ffn.down.weight[8,12] decay\n"
            "sublayers.1.hc.theta[5,8] decay\n"
            "sublayers.1.hc.alpha[3]\n"
            "sublayers.1.hc.bias[15]\n");
  EXPECT_EQ(Print(SmallModel(ResidualKind::kResidual), 2),
            "sublayers.1.norm.weight[8]\n"
            "sublayers.1.ffn.gate_up.weight[24,8] decay\n"
            "sublayers.1.ffn.down.weight[8,12] decay\n");
}

TEST(Model, SharesTheEmbeddingWithTheHeadWhereTied) {
  ModelSpec model = SmallModel(ResidualKind::kResidual);
  const int64_t untied = NumParameters(model);
  model.tie_embeddings = true;
  EXPECT_EQ(Print(model, 5), "final_norm.weight[8]\nembedding.weight[11,8] decay\n");
  EXPECT_EQ(untied - NumParameters(model), 11 * 8);
}

TEST(Model, CountsParametersByHand) {
  const int64_t attention = 8 + 16 * 8 + 8 * 8, feed_forward = 8 + 24 * 8 + 8 * 12;
  const int64_t connection = 24 * 15 + 3 + 15;
  EXPECT_EQ(NumParameters(SmallModel(ResidualKind::kMhc)),
            2 * 11 * 8 + 8 + 2 * (attention + feed_forward) + 4 * connection);
}

TEST(Model, NamesAreUnique) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    const ModelSpec model = SmallModel(kind);
    std::set<std::string> names;
    for (int unit = 0; unit < NumUnits(model); ++unit) {
      for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
        EXPECT_TRUE(names.insert(parameter.name).second) << parameter.name;
      }
    }
  }
}

TEST(Model, MappingDecidesTheNumberOfLogits) {
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  model.residual.streams = 4;
  EXPECT_EQ(NumResidualLogits(model), 16);
  model.residual.mapping = MappingKind::kPermutations;
  EXPECT_EQ(NumResidualLogits(model), 24);
  model.residual.mapping = MappingKind::kIdentity;
  EXPECT_EQ(NumResidualLogits(model), 0);
  model.residual.kind = ResidualKind::kHc;
  EXPECT_EQ(NumResidualLogits(model), 16);
  model.residual.kind = ResidualKind::kResidual;
  EXPECT_EQ(NumResidualLogits(model), 0);
  EXPECT_EQ(NumStreams(model), 1);
}

TEST(Model, MappingDecidesTheColumnsOfPhi) {
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  model.residual.streams = 4;
  EXPECT_EQ(NumProjectionColumns(model), 24);
  EXPECT_EQ(NumSavedLogits(model), 25);
  model.residual.mapping = MappingKind::kRetention;
  EXPECT_EQ(NumResidualLogits(model), 4);
  EXPECT_EQ(NumProjectionColumns(model), 8);
  model.residual.mapping = MappingKind::kGatedResidual;
  EXPECT_EQ(NumProjectionColumns(model), 4);
  // Biases alone: there is no phi and no alpha.
  model.residual.mapping = MappingKind::kStatic;
  EXPECT_EQ(NumProjectionColumns(model), 0);
  EXPECT_EQ(NumSavedLogits(model), 1);
  const std::vector<ParameterSpec> parameters = ParametersOfUnit(model, 1);
  EXPECT_EQ(parameters.size(), 4u);
  EXPECT_EQ(parameters.back().name, "sublayers.0.mhc.bias");
  EXPECT_EQ(parameters.back().NumElements(), 24);
  model.residual.kind = ResidualKind::kHc;
  EXPECT_EQ(NumProjectionColumns(model), 6);
  EXPECT_EQ(NumSavedLogits(model), 28);
}

TEST(Model, CountsFlopsOfProductsAlone) {
  const ModelSpec model = SmallModel(ResidualKind::kMhc);
  const int sequence = 10;
  EXPECT_EQ(ForwardFlopsPerToken(model, 0, sequence), 0.0);
  // q, k, v: 8 x 16; scores and values: 10 tokens of 8 channels, half masked; out: 8 x 8.
  EXPECT_EQ(ForwardFlopsPerToken(model, 1, sequence), 2 * 8 * 16 + 2 * 10 * 8 + 2 * 8 * 8);
  EXPECT_EQ(ForwardFlopsPerToken(model, 2, sequence), 6 * 8 * 12);
  EXPECT_EQ(ForwardFlopsPerToken(model, 5, sequence), 2 * 8 * 11);
  EXPECT_EQ(TrainFlopsPerToken(model, sequence), 3.0 * (2 * (256 + 160 + 128) + 2 * 576 + 176));
}

}  // namespace
}  // namespace birkhoff
