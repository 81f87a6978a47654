// The model as units: kinds, parameters, counts and FLOPs follow from the spec alone.
#include "core/spec/model.h"

#include <gtest/gtest.h>

#include <iterator>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/mapping.h"
#include "core/base/rng.h"

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

// A model of any shape that rules allow.
ModelSpec AnyModel(Rng& rng) {
  ModelSpec model;
  model.num_key_value_heads = 1 + static_cast<int>(rng.Below(3));
  model.num_attention_heads = model.num_key_value_heads * (1 + static_cast<int>(rng.Below(3)));
  model.hidden_size = model.num_attention_heads * 2 * (1 + static_cast<int>(rng.Below(4)));
  model.num_hidden_layers = 1 + static_cast<int>(rng.Below(4));
  model.intermediate_size = 1 + static_cast<int>(rng.Below(40));
  model.vocab_size = 1 + static_cast<int>(rng.Below(300));
  model.tie_embeddings = rng.Below(2) == 1;
  model.residual.kind = static_cast<ResidualKind>(rng.Below(3));
  model.residual.mapping = static_cast<MappingKind>(rng.Below(kMappings.size()));
  model.residual.streams = 1 + static_cast<int>(rng.Below(4));
  return model;
}

// What one connection learns, from the papers' formulas: the columns of phi and the biases.
int64_t ConnectionParameters(const ModelSpec& model) {
  const int64_t n = model.residual.streams, C = model.hidden_size;
  const int64_t factorial[] = {1, 1, 2, 6, 24};
  if (model.residual.kind == ResidualKind::kResidual) return 0;
  if (model.residual.kind == ResidualKind::kHc) return (2 + n) * C + 3 + 2 * n + n * n;
  int64_t logits = n * n, columns = -1;
  switch (model.residual.mapping) {
    case MappingKind::kSinkhorn:
    case MappingKind::kUnconstrained:
    case MappingKind::kDeepSeek:
      columns = 2 * n + n * n;
      break;
    case MappingKind::kPermutations:
      logits = factorial[n];
      columns = 2 * n + logits;
      break;
    case MappingKind::kIdentity:
      logits = 0;
      columns = 2 * n;
      break;
    case MappingKind::kRetention:
      logits = n;
      columns = 2 * n;
      break;
    case MappingKind::kGatedResidual:
      logits = 0;
      columns = n;
      break;
    case MappingKind::kStatic:
      columns = 0;
      break;
  }
  return n * C * columns + (columns > 0 ? 3 : 0) + 2 * n + logits;
}

TEST(Model, CountsWhatTheFormulasOfThePapersCount) {
  Rng rng(1, "models");
  for (int i = 0; i < 500; ++i) {
    const ModelSpec model = AnyModel(rng);
    const int64_t C = model.hidden_size, F = model.intermediate_size, V = model.vocab_size;
    const int64_t head = C / model.num_attention_heads, keys = head * model.num_key_value_heads;
    const int64_t attention = C + C * (C + 2 * keys) + C * C, feed_forward = C + 3 * C * F;
    EXPECT_EQ(
        NumParameters(model),
        V * C * (model.tie_embeddings ? 1 : 2) + C +
            model.num_hidden_layers * (attention + feed_forward + 2 * ConnectionParameters(model)));
  }
}

// 2 for each weight that a token meets, and of attention what the mask leaves: summed over every
// token of a sequence, each with those before it, and half of itself.
TEST(Model, CountsTwoFlopsForEveryProductOfASequence) {
  Rng rng(2, "models");
  for (int i = 0; i < 200; ++i) {
    const ModelSpec model = AnyModel(rng);
    const int length = 1 + static_cast<int>(rng.Below(50));
    double flops = 0.0;
    for (int unit = 1; unit < NumUnits(model); ++unit) {
      for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
        if (parameter.product) flops += 2.0 * length * static_cast<double>(parameter.NumElements());
      }
      if (KindOfUnit(model, unit) != UnitKind::kAttention) continue;
      for (int token = 0; token < length; ++token) {
        flops += 2 * 2.0 * model.hidden_size * (token + 0.5);
      }
    }
    EXPECT_DOUBLE_EQ(TrainFlopsPerToken(model, length), 3.0 * flops / length);
  }
}

TEST(Model, EveryParameterStartsAndDecaysAsItsKindDoes) {
  struct Kind {
    const char* ends;
    Initializer initializer;
    double scale;
    bool decay, product;
  };
  ModelSpec model = SmallModel(ResidualKind::kMhc);
  model.init_std = 0.25;
  model.residual.phi_init_std = 0.5;
  model.residual.alpha_init = 0.75;
  const Kind kinds[] = {{"embedding.weight", Initializer::kNormal, 0.25, true, true},
                        {"head.weight", Initializer::kNormal, 0.25, true, true},
                        {"norm.weight", Initializer::kConstant, 1.0, false, false},
                        {"attention.qkv.weight", Initializer::kNormal, 0.25, true, true},
                        {"attention.out.weight", Initializer::kNormal, 0.25, true, true},
                        {"ffn.gate_up.weight", Initializer::kNormal, 0.25, true, true},
                        {"ffn.down.weight", Initializer::kNormal, 0.25, true, true},
                        {"mhc.phi", Initializer::kNormal, 0.5, true, false},
                        {"mhc.alpha", Initializer::kConstant, 0.75, false, false},
                        {"mhc.bias", Initializer::kOneHotBias, 0.0, false, false},
                        {"hc.theta", Initializer::kNormal, 0.5, true, false},
                        {".hc.alpha", Initializer::kConstant, 0.75, false, false},
                        {".hc.bias", Initializer::kHcBias, 0.0, false, false}};
  std::set<std::string> met;
  for (const ResidualKind residual : {ResidualKind::kHc, ResidualKind::kMhc}) {
    model.residual.kind = residual;
    for (int unit = 0; unit < NumUnits(model); ++unit) {
      for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
        int matches = 0;
        for (const Kind& kind : kinds) {
          if (!absl::EndsWith(parameter.name, kind.ends)) continue;
          ++matches;
          met.insert(kind.ends);
          EXPECT_EQ(parameter.initializer, kind.initializer) << parameter.name;
          EXPECT_EQ(parameter.scale, kind.scale) << parameter.name;
          EXPECT_EQ(parameter.decay, kind.decay) << parameter.name;
          EXPECT_EQ(parameter.product, kind.product) << parameter.name;
          // A table of embeddings is added to where tokens repeat.
          EXPECT_EQ(AssignsGradient(parameter),
                    kind.product && parameter.name != "embedding.weight");
        }
        EXPECT_EQ(matches, 1) << parameter.name;
      }
    }
  }
  EXPECT_EQ(met.size(), std::size(kinds));
}

TEST(Model, SizesBeyond32BitsAreCounted) {
  ModelSpec model;
  model.vocab_size = 1 << 24;
  model.hidden_size = 65536;
  model.num_attention_heads = model.num_key_value_heads = 1024;
  model.intermediate_size = 1 << 20;
  model.num_hidden_layers = 2047;
  model.residual.kind = ResidualKind::kResidual;
  const int64_t C = 65536, F = 1 << 20, V = 1 << 24;
  EXPECT_EQ(NumParameters(model), 2 * V * C + C + 2047 * (2 * C + 4 * C * C + 3 * C * F));
  EXPECT_EQ(ParametersOfUnit(model, 0)[0].NumElements(), V * C);
}

}  // namespace
}  // namespace birkhoff
