// The layout is the only list of sizes: it must be sound, and follow the paper's memory formula.
#include "core/spec/footprint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/spec/model.h"

namespace birkhoff {
namespace {

constexpr int64_t kTokens = 24;

ModelSpec Model(ResidualKind kind) {
  ModelSpec model;
  model.vocab_size = 19;
  model.hidden_size = 16;
  model.num_hidden_layers = 6;
  model.num_attention_heads = 4;
  model.num_key_value_heads = 2;
  model.intermediate_size = 20;
  model.residual.kind = kind;
  return model;
}

LayoutRequest Request(ResidualKind kind, UnitRange units, int recompute_block) {
  return {.model = Model(kind),
          .units = units,
          .recompute_block = recompute_block,
          .tokens = kTokens,
          .sequence_length = 8};
}

int64_t Aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Which of those that share a home's memory a tensor belongs to: recompute blocks share all of it,
// attention, feed-forward and head the last bytes of kScratch.  -1: nobody else has its bytes.
int TurnOf(const StageLayout& layout, const StoredTensor& tensor) {
  if (tensor.home == Home::kRecompute) {
    for (size_t i = 0; i < layout.recompute_blocks.size(); ++i) {
      if (tensor.unit < layout.recompute_blocks[i].last) return static_cast<int>(i);
    }
  }
  if (tensor.home != Home::kScratch) return -1;
  const std::vector<std::vector<std::string>> turns = {{"qkv", "log_sum_exp", "attention"},
                                                       {"gate_up", "hidden"},
                                                       {"contracted", "vocabulary", "dvocabulary"}};
  for (size_t i = 0; i < turns.size(); ++i) {
    if (std::ranges::count(turns[i], tensor.name) > 0) return static_cast<int>(i);
  }
  return -1;
}

void ExpectSound(const StageLayout& layout) {
  std::vector<StoredTensor> tensors = layout.tensors;
  std::sort(tensors.begin(), tensors.end(), [&](const StoredTensor& a, const StoredTensor& b) {
    return std::make_tuple(a.home, TurnOf(layout, a), a.offset) <
           std::make_tuple(b.home, TurnOf(layout, b), b.offset);
  });
  int64_t totals[kNumHomes] = {}, alone[kNumHomes] = {};  // ends of all, and of what nobody shares
  for (size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& tensor = tensors[i];
    const bool follows = i > 0 && tensors[i - 1].home == tensor.home &&
                         TurnOf(layout, tensors[i - 1]) == TurnOf(layout, tensor);
    const int64_t end = follows ? tensors[i - 1].offset + Aligned(tensors[i - 1].bytes)
                                : alone[static_cast<int>(tensor.home)];
    EXPECT_EQ(tensor.offset, end) << HomeName(tensor.home) << " " << tensor.name;
    EXPECT_GT(tensor.bytes, 0) << tensor.name;
    EXPECT_EQ(layout.Find(tensor.unit, tensor.home, tensor.name)->offset, tensor.offset)
        << tensor.name << " is not unique";
    int64_t& total = totals[static_cast<int>(tensor.home)];
    total = std::max(total, tensor.offset + Aligned(tensor.bytes));
    if (TurnOf(layout, tensor) < 0) alone[static_cast<int>(tensor.home)] = total;
  }
  for (int home = 0; home < kNumHomes; ++home) {
    EXPECT_EQ(layout.bytes[home], totals[home]) << HomeName(static_cast<Home>(home));
  }
}

TEST(Footprint, TensorsAreAlignedDisjointAndFillTheirHomes) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    for (const UnitRange units : {UnitRange{0, 14}, {0, 1}, {0, 4}, {3, 9}, {9, 14}, {13, 14}}) {
      for (const int block : {0, 1, 2, 3, 100}) {
        ExpectSound(MakeStageLayout(Request(kind, units, block)));
      }
    }
  }
}

TEST(Footprint, HomesFollowWhatTheStageTouches) {
  const auto homes = [](UnitRange units) {
    const StageLayout layout = MakeStageLayout(Request(ResidualKind::kMhc, units, 0));
    std::string text;
    for (int home = 0; home < kNumHomes; ++home) {
      if (layout.bytes[home] > 0) text += std::string(HomeName(static_cast<Home>(home))) + " ";
    }
    return text;
  };
  EXPECT_EQ(homes({0, 1}), "batch output gradient-in ");
  EXPECT_EQ(homes({0, 14}), "batch saved kept gradient-out pending scratch ");
  EXPECT_EQ(homes({2, 5}),
            "batch input saved kept output gradient-in gradient-out pending scratch ");
  EXPECT_EQ(homes({13, 14}), "batch input saved gradient-out scratch ");
}

TEST(Footprint, MessagesAreTheirParts) {
  const ModelSpec model = Model(ResidualKind::kMhc);
  const auto activation = ActivationParts(model, 3, Precision::kFp32);
  ASSERT_EQ(activation.size(), 2u);
  EXPECT_EQ(activation[0].name, "x");
  EXPECT_EQ(activation[0].bytes, 3 * 4 * 16 * 4);
  EXPECT_EQ(activation[1].name, "p");
  EXPECT_EQ(activation[1].offset, Aligned(3 * 4 * 16 * 4));
  EXPECT_EQ(activation[1].bytes, 3 * 16 * 4);
  const StageLayout layout = MakeStageLayout(Request(ResidualKind::kMhc, {3, 9}, 0));
  for (const auto& [home, parts] :
       {std::make_pair(Home::kInput, ActivationParts(model, kTokens, Precision::kFp32)),
        std::make_pair(Home::kOutput, ActivationParts(model, kTokens, Precision::kFp32)),
        std::make_pair(Home::kGradientIn, GradientParts(model, kTokens, Precision::kFp32)),
        std::make_pair(Home::kGradientOut, GradientParts(model, kTokens, Precision::kFp32))}) {
    for (const MessagePart& part : parts) {
      const StoredTensor* tensor = layout.Find(3, home, part.name);
      ASSERT_NE(tensor, nullptr) << HomeName(home) << " " << part.name;
      EXPECT_EQ(tensor->offset, part.offset);
      EXPECT_EQ(tensor->bytes, part.bytes);
    }
  }
}

TEST(Footprint, BlocksCoverTheSubLayersOfTheStage) {
  const StageLayout layout = MakeStageLayout(Request(ResidualKind::kMhc, {0, 9}, 3));
  EXPECT_EQ(layout.recompute_blocks, (std::vector<UnitRange>{{1, 4}, {4, 7}, {7, 9}}));
  EXPECT_TRUE(MakeStageLayout(Request(ResidualKind::kMhc, {0, 9}, 0)).recompute_blocks.empty());
}

// Bytes of tensors called "x" that one micro-batch keeps from its forward pass on.
int64_t StoredX(const StageLayout& layout) {
  int64_t bytes = 0;
  for (const StoredTensor& tensor : layout.tensors) {
    const bool stored = tensor.home == Home::kInput || tensor.home == Home::kSaved;
    if (stored && tensor.name == "x") bytes += tensor.bytes;
  }
  return bytes;
}

// nC ceil(L / L_r) stored and at most (n + 2) C L_r rebuilt: arXiv 2512.24880 section 4.3.2.
TEST(Footprint, RecomputeFollowsTheFormulaOfThePaper) {
  const int64_t unit = kTokens * 16 * 4, n = 4;
  for (const UnitRange units : {UnitRange{0, 13}, UnitRange{1, 13}}) {
    for (const int block : {1, 2, 3, 4, 5, 12}) {
      const StageLayout layout = MakeStageLayout(Request(ResidualKind::kMhc, units, block));
      EXPECT_EQ(StoredX(layout), n * unit * ((12 + block - 1) / block)) << block;
      EXPECT_LE(layout.BytesOf(Home::kRecompute), (n + 2) * unit * block) << block;
      EXPECT_GT(layout.BytesOf(Home::kRecompute), 0) << block;
    }
  }
}

TEST(Footprint, RecomputeSavesMemoryAndHasAnOptimum) {
  const auto bytes = [](int block) {
    const StageLayout layout = MakeStageLayout(Request(ResidualKind::kMhc, {1, 13}, block));
    return layout.BytesOf(Home::kInput) + layout.BytesOf(Home::kSaved) +
           layout.BytesOf(Home::kKept) + layout.BytesOf(Home::kRecompute);
  };
  EXPECT_LT(bytes(3), bytes(0));  // sqrt(4 * 12 / 6) = 2.8
  EXPECT_LT(bytes(3), bytes(1));
  EXPECT_LT(bytes(3), bytes(12));
}

TEST(Footprint, DoubleElementsTakeTwice) {
  LayoutRequest request = Request(ResidualKind::kMhc, {1, 5}, 0);
  const StageLayout single = MakeStageLayout(request);
  request.precision = Precision::kFp64;
  const StageLayout twice = MakeStageLayout(request);
  EXPECT_EQ(twice.Find(2, Home::kKept, "gate_up")->bytes,
            2 * single.Find(2, Home::kKept, "gate_up")->bytes);
  EXPECT_EQ(twice.BytesOf(Home::kBatch), single.BytesOf(Home::kBatch));
}

// In bf16 what must not be rounded stays fp32: coefficients, norms, products of matrices, sums.
TEST(Footprint, Bf16HalvesStreamsAndActivationsOnly) {
  LayoutRequest request = Request(ResidualKind::kMhc, {1, 14}, 0);
  request.processor = Processor::kCuda;
  const StageLayout full = MakeStageLayout(request);
  request.precision = Precision::kBf16;
  const StageLayout half = MakeStageLayout(request);
  int rounded = 0, kept = 0;
  for (const StoredTensor& tensor : half.tensors) {
    const StoredTensor* other = full.Find(tensor.unit, tensor.home, tensor.name);
    if (other == nullptr || tensor.name == "workspace") continue;  // only here: see below
    const bool is_rounded = tensor.dtype == DType::kBfloat16;
    EXPECT_EQ(tensor.bytes * (is_rounded ? 2 : 1), other->bytes) << tensor.name;
    (is_rounded ? rounded : kept) += 1;
    for (const char* name : {"coefficients", "logits", "inverse_rms", "log_sum_exp", "p", "s",
                             "vocabulary", "positions", "inputs", "targets"}) {
      EXPECT_FALSE(is_rounded && tensor.name == name) << name;
    }
  }
  EXPECT_GT(rounded, 20);
  EXPECT_GT(kept, 20);
  EXPECT_EQ(half.Find(1, Home::kScratch, "dvocabulary")->dtype, DType::kBfloat16);
  EXPECT_EQ(full.Find(1, Home::kScratch, "dvocabulary"), nullptr);
  const auto parts = GradientParts(request.model, 3, Precision::kBf16);
  EXPECT_EQ(parts[0].dtype, DType::kBfloat16);
  EXPECT_EQ(parts[0].bytes, 3 * 4 * 16 * 2);
  EXPECT_EQ(parts[1].dtype, DType::kFloat32);
  EXPECT_EQ(parts[1].offset, Aligned(3 * 4 * 16 * 2));
}

TEST(Footprint, RefusesUnitsThatAreNone) {
  EXPECT_DEATH(MakeStageLayout(Request(ResidualKind::kMhc, {4, 4}, 0)), "non-empty run of units");
  EXPECT_DEATH(MakeStageLayout(Request(ResidualKind::kMhc, {4, 15}, 0)), "non-empty run of units");
}

// What may not be rounded is not: the types of what a stage stores, in bf16 mode.
TEST(Footprint, GatesLogitsGainsAndTheLossNeverLeaveFp32) {
  ModelSpec model;
  model.vocab_size = 259;
  const StageLayout layout = MakeStageLayout({.model = model,
                                              .units = {0, NumUnits(model)},
                                              .tokens = 32,
                                              .sequence_length = 32,
                                              .precision = Precision::kBf16,
                                              .processor = Processor::kCuda});
  for (const StoredTensor& tensor : layout.tensors) {
    const std::vector<std::string> exact = {"coefficients",
                                            "coefficients.0",
                                            "coefficients.1",
                                            "logits",
                                            "inverse_rms",
                                            "log_sum_exp",
                                            "p",
                                            "s",
                                            "vocabulary",
                                            "workspace",
                                            "measures"};
    const std::vector<std::string> tokens = {"positions", "inputs", "targets"};
    const auto among = [&tensor](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), tensor.name) != names.end();
    };
    const DType want = among(exact)    ? DType::kFloat32
                       : among(tokens) ? DType::kInt32
                                       : DType::kBfloat16;
    EXPECT_EQ(tensor.dtype, want) << tensor.name;
  }
}

}  // namespace
}  // namespace birkhoff
