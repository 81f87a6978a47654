// The layout is the only list of sizes: it must be sound, and follow the paper's memory formula.
#include "core/spec/footprint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

// Tensors of one home that hold something at once.
using Alive = std::vector<const StoredTensor*>;

constexpr std::string_view kEvaluated = "evaluation.";

bool IsEvaluated(const StoredTensor& tensor) { return tensor.name.starts_with(kEvaluated); }
bool IsWorkspace(const StoredTensor& tensor) { return tensor.name.starts_with("workspace"); }
// "logits" of "evaluation.logits".
std::string WhatItIs(const StoredTensor& tensor) {
  return tensor.name.substr(IsEvaluated(tensor) ? kEvaluated.size() : 0);
}

template <typename Belongs>
Alive Those(const StageLayout& layout, Belongs belongs) {
  Alive alive;
  for (const StoredTensor& tensor : layout.tensors) {
    if (belongs(tensor)) alive.push_back(&tensor);
  }
  return alive;
}

// Those of `names`, beside those that are alive always.
Alive Named(const StageLayout& layout, Home home, std::vector<std::string> always,
            const std::vector<std::string>& names) {
  always.insert(always.end(), names.begin(), names.end());
  return Those(layout, [&](const StoredTensor& tensor) {
    return tensor.home == home && std::ranges::count(always, tensor.name) > 0;
  });
}

// Every tensor of the home is in one of these at least.
std::vector<Alive> AliveIn(const StageLayout& layout, Home home) {
  std::vector<Alive> all;
  const auto add = [&](std::vector<std::string> always,
                       const std::vector<std::vector<std::string>>& turns) {
    for (const auto& turn : turns) all.push_back(Named(layout, home, always, turn));
  };
  if (home == Home::kScratch) {
    add({"p", "workspace", "measures"}, {{"norm", "x"},
                                         {"hidden", "x"},
                                         {"workspace.attention", "x"},
                                         {"norm", "vocabulary", "dvocabulary"},
                                         {"norm", "dy", "dqkv", "workspace.dattention"},
                                         {"norm", "dy", "dhidden"}});
  } else if (home == Home::kRecompute) {
    for (const UnitRange& block : layout.recompute_blocks) {
      all.push_back(Those(layout, [&](const StoredTensor& tensor) {
        return tensor.home == home && tensor.unit >= block.first && tensor.unit < block.last;
      }));
    }
  } else {
    all.push_back(Those(layout, [&](const StoredTensor& tensor) {
      return tensor.home == home && !IsEvaluated(tensor);
    }));
  }
  if (home == Home::kSaved) {
    add({"evaluation.x", "evaluation.norm", "evaluation.inverse_rms", "evaluation.y",
         "evaluation.coefficients.0", "evaluation.coefficients.1", "evaluation.logits"},
        {{"evaluation.qkv", "evaluation.log_sum_exp", "evaluation.attention"},
         {"evaluation.gate_up"},
         {"evaluation.contracted"}});
  }
  return all;
}

// The bytes of what is alive at once, which do not overlap.
int64_t BytesOf(Alive alive) {
  std::sort(alive.begin(), alive.end(),
            [](const StoredTensor* a, const StoredTensor* b) { return a->offset < b->offset; });
  int64_t end = 0, bytes = 0;
  for (const StoredTensor* tensor : alive) {
    EXPECT_GE(tensor->offset, end) << HomeName(tensor->home) << " " << tensor->name;
    EXPECT_EQ(tensor->offset % 64, 0) << tensor->name;
    EXPECT_GT(tensor->bytes, 0) << tensor->name;
    end = tensor->offset + Aligned(tensor->bytes);
    bytes += Aligned(tensor->bytes);
  }
  return bytes;
}

// No home is larger than what is alive in it at once.
void ExpectSound(const StageLayout& layout) {
  size_t found = 0;
  for (int h = 0; h < kNumHomes; ++h) {
    const Home home = static_cast<Home>(h);
    int64_t most = 0, evaluated = 0;
    std::set<const StoredTensor*> seen;
    for (const Alive& alive : AliveIn(layout, home)) {
      const int64_t bytes = BytesOf(alive);
      most = std::max(most, bytes);
      if (!alive.empty() && IsEvaluated(*alive.front())) evaluated = std::max(evaluated, bytes);
      seen.insert(alive.begin(), alive.end());
    }
    EXPECT_EQ(layout.bytes[h], most) << HomeName(home);
    if (home == Home::kSaved) {
      EXPECT_EQ(layout.evaluation_bytes, evaluated);
    }
    found += seen.size();
  }
  EXPECT_EQ(found, layout.tensors.size());
  for (const StoredTensor& tensor : layout.tensors) {
    EXPECT_EQ(layout.Find(tensor.unit, tensor.home, tensor.name), &tensor)
        << tensor.name << " is not unique";
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
    if (other == nullptr || IsWorkspace(tensor)) continue;  // only here: see below
    const bool is_rounded = tensor.dtype == DType::kBfloat16;
    EXPECT_EQ(tensor.bytes * (is_rounded ? 2 : 1), other->bytes) << tensor.name;
    (is_rounded ? rounded : kept) += 1;
    for (const char* name : {"coefficients", "logits", "inverse_rms", "log_sum_exp", "p", "s",
                             "vocabulary", "positions", "inputs", "targets"}) {
      EXPECT_FALSE(is_rounded && WhatItIs(tensor) == name) << name;
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
                                            "measures"};
    const std::vector<std::string> tokens = {"positions", "inputs", "targets"};
    const auto among = [&tensor](const std::vector<std::string>& names) {
      return std::find(names.begin(), names.end(), WhatItIs(tensor)) != names.end();
    };
    const DType want = among(exact) || IsWorkspace(tensor) ? DType::kFloat32
                       : among(tokens)                     ? DType::kInt32
                                                           : DType::kBfloat16;
    EXPECT_EQ(tensor.dtype, want) << tensor.name;
  }
}

// "home unit name type columns" of each tensor in order, columns as elements of one token, or bytes
// in all for what is not of the tokens.
std::string Print(const StageLayout& layout) {
  std::string text;
  for (const StoredTensor& tensor : layout.tensors) {
    const int64_t elements = tensor.bytes / SizeOf(tensor.dtype);
    absl::StrAppend(&text, HomeName(tensor.home), " ", tensor.unit, " ", tensor.name, " ",
                    DTypeName(tensor.dtype), " ",
                    IsWorkspace(tensor) || tensor.name == "measures"
                        ? absl::StrCat(tensor.bytes, " bytes")
                    : tensor.name.ends_with("vocabulary") ? absl::StrCat(elements / 19, " rows")
                                                          : absl::StrCat(elements / kTokens),
                    "\n");
  }
  return text;
}

// n = 4 streams of C = 16, 4 query heads and 2 for keys and values of 4 channels (32 for q, k and
// v), F = 20, 19 tokens in the vocabulary; 2n + n^2 = 24 coefficients, 25 logits.
TEST(Footprint, AWholeModelByHand) {
  LayoutRequest request = Request(ResidualKind::kMhc, {0, 4}, 0);
  request.model.num_hidden_layers = 1;
  request.processor = Processor::kCuda;
  request.precision = Precision::kBf16;
  EXPECT_EQ(Print(MakeStageLayout(request)),
            "batch 0 positions int32 1\n"
            "batch 0 inputs int32 1\n"
            "batch 0 targets int32 1\n"
            "gradient-out 0 dx bf16 64\n"
            "gradient-out 0 s fp32 16\n"
            "saved 1 x bf16 64\n"
            "saved 1 coefficients fp32 24\n"
            "saved 1 logits fp32 25\n"
            "saved 1 inverse_rms fp32 1\n"
            "saved 1 y bf16 16\n"
            "kept 1 norm bf16 16\n"
            "pending 1 dy bf16 16\n"
            "saved 1 qkv bf16 32\n"
            "saved 1 log_sum_exp fp32 4\n"
            "kept 1 attention bf16 16\n"
            "pending 1 dqkv bf16 32\n"
            "saved 2 x bf16 64\n"
            "saved 2 coefficients fp32 24\n"
            "saved 2 logits fp32 25\n"
            "saved 2 inverse_rms fp32 1\n"
            "saved 2 y bf16 16\n"
            "kept 2 norm bf16 16\n"
            "pending 2 dy bf16 16\n"
            "kept 2 gate_up bf16 40\n"
            "pending 2 dgate_up bf16 40\n"
            "saved 3 contracted bf16 16\n"
            "saved 3 inverse_rms fp32 1\n"
            "saved 3 dnorm bf16 16\n"
            "saved 0 evaluation.norm bf16 16\n"
            "saved 0 evaluation.inverse_rms fp32 1\n"
            "saved 0 evaluation.x bf16 64\n"
            "saved 0 evaluation.y bf16 16\n"
            "saved 0 evaluation.coefficients.0 fp32 24\n"
            "saved 0 evaluation.coefficients.1 fp32 24\n"
            "saved 0 evaluation.logits fp32 25\n"
            "saved 0 evaluation.qkv bf16 32\n"
            "saved 0 evaluation.log_sum_exp fp32 4\n"
            "saved 0 evaluation.attention bf16 16\n"
            "saved 0 evaluation.gate_up bf16 40\n"
            "saved 0 evaluation.contracted bf16 16\n"
            "scratch 0 p fp32 16\n"
            "scratch 0 workspace fp32 33554688 bytes\n"
            "scratch 0 measures fp32 139264 bytes\n"
            "scratch 0 norm bf16 16\n"
            "scratch 0 workspace.attention fp32 1540352 bytes\n"
            "scratch 0 hidden bf16 20\n"
            "scratch 0 x bf16 64\n"
            "scratch 0 dy bf16 16\n"
            "scratch 0 dqkv bf16 32\n"
            "scratch 0 workspace.dattention fp32 1540352 bytes\n"
            "scratch 0 dhidden bf16 20\n"
            "scratch 0 vocabulary fp32 24 rows\n"
            "scratch 0 dvocabulary bf16 24 rows\n");
}

// Two sub-layers in the middle of a plain model: no coefficients, and one block that is rebuilt.
TEST(Footprint, AStageOfThePlainResidualByHand) {
  EXPECT_EQ(Print(MakeStageLayout(Request(ResidualKind::kResidual, {2, 4}, 2))),
            "batch 2 positions int32 1\n"
            "batch 2 inputs int32 1\n"
            "batch 2 targets int32 1\n"
            "input 2 x fp32 16\n"
            "input 2 p fp32 1\n"
            "output 2 x fp32 16\n"
            "output 2 p fp32 1\n"
            "gradient-in 2 dx fp32 16\n"
            "gradient-in 2 s fp32 1\n"
            "gradient-out 2 dx fp32 16\n"
            "gradient-out 2 s fp32 1\n"
            "saved 2 inverse_rms fp32 1\n"
            "saved 2 y fp32 16\n"
            "pending 2 norm fp32 16\n"
            "pending 2 dy fp32 16\n"
            "kept 2 gate_up fp32 40\n"
            "pending 2 dgate_up fp32 40\n"
            "saved 3 inverse_rms fp32 1\n"
            "saved 3 y fp32 16\n"
            "pending 3 norm fp32 16\n"
            "pending 3 dy fp32 16\n"
            "saved 3 qkv fp32 32\n"
            "saved 3 log_sum_exp fp32 4\n"
            "kept 3 attention fp32 16\n"
            "pending 3 dqkv fp32 32\n"
            "saved 2 evaluation.norm fp32 16\n"
            "saved 2 evaluation.inverse_rms fp32 1\n"
            "saved 2 evaluation.x fp32 16\n"
            "saved 2 evaluation.y fp32 16\n"
            "saved 2 evaluation.qkv fp32 32\n"
            "saved 2 evaluation.log_sum_exp fp32 4\n"
            "saved 2 evaluation.attention fp32 16\n"
            "saved 2 evaluation.gate_up fp32 40\n"
            "recompute 2 norm fp32 16\n"
            "recompute 3 x fp32 16\n"
            "recompute 3 norm fp32 16\n"
            "scratch 2 workspace fp32 6656 bytes\n"
            "scratch 2 norm fp32 16\n"
            "scratch 2 workspace.attention fp32 512 bytes\n"
            "scratch 2 hidden fp32 20\n"
            "scratch 2 x fp32 16\n"
            "scratch 2 dy fp32 16\n"
            "scratch 2 dqkv fp32 32\n"
            "scratch 2 workspace.dattention fp32 512 bytes\n"
            "scratch 2 dhidden fp32 20\n");
}

TEST(Footprint, AnEmbeddingAloneHasWorkspaceOnAGpuOnly) {
  LayoutRequest request = Request(ResidualKind::kMhc, {0, 1}, 0);
  EXPECT_EQ(MakeStageLayout(request).BytesOf(Home::kScratch), 0);
  EXPECT_EQ(MakeStageLayout(request).BytesOf(Home::kGradientOut), 0);
  request.processor = Processor::kCuda;
  EXPECT_GT(MakeStageLayout(request).BytesOf(Home::kScratch), 32 << 20);
}

TEST(Footprint, FindsATensorByUnitHomeAndName) {
  const StageLayout layout = MakeStageLayout(Request(ResidualKind::kMhc, {1, 3}, 0));
  EXPECT_EQ(layout.Find(2, Home::kKept, "gate_up")->unit, 2);
  EXPECT_EQ(layout.Find(1, Home::kKept, "gate_up"), nullptr) << "attention has none";
  EXPECT_EQ(layout.Find(2, Home::kSaved, "gate_up"), nullptr) << "it stands in another home";
  EXPECT_EQ(layout.Find(3, Home::kKept, "gate_up"), nullptr) << "of another stage";
}

}  // namespace
}  // namespace birkhoff
