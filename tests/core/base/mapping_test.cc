// The table of mappings, written down once more, and the numbers that follow from it.
#include "core/base/mapping.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

namespace birkhoff {
namespace {

// Each with streams n = 1, 2, 3, 4 in turn.
struct Row {
  MappingKind kind;
  const char* name;
  int logits[4];   // K_res
  int columns[4];  // of phi
  int most_streams, most_iterations;
  bool rows_sum_to_1;
};

const Row kRows[] = {
    {MappingKind::kSinkhorn, "sinkhorn", {1, 4, 9, 16}, {3, 8, 15, 24}, 8, 1000, true},
    {MappingKind::kPermutations, "permutations", {1, 2, 6, 24}, {3, 6, 12, 32}, 4, 0, true},
    {MappingKind::kIdentity, "identity", {0, 0, 0, 0}, {2, 4, 6, 8}, 8, 0, true},
    {MappingKind::kUnconstrained, "unconstrained", {1, 4, 9, 16}, {3, 8, 15, 24}, 8, 0, false},
    {MappingKind::kDeepSeek, "deepseek", {1, 4, 9, 16}, {3, 8, 15, 24}, 8, 32, false},
    {MappingKind::kRetention, "retention", {1, 2, 3, 4}, {2, 4, 6, 8}, 8, 0, false},
    {MappingKind::kGatedResidual, "gated", {0, 0, 0, 0}, {1, 2, 3, 4}, 8, 0, true},
    {MappingKind::kStatic, "static", {1, 4, 9, 16}, {0, 0, 0, 0}, 8, 1000, true},
};

TEST(Mapping, RowsAreWhatTheirSourcesSay) {
  ASSERT_EQ(std::size(kRows), kMappings.size());
  int number = 0;
  for (const Row& row : kRows) {
    // Numbers are on the wire, in this order.
    EXPECT_EQ(static_cast<int>(row.kind), number++) << row.name;
    const MappingTraits& traits = TraitsOf(row.kind);
    EXPECT_STREQ(traits.name, row.name);
    EXPECT_EQ(traits.most_streams, row.most_streams) << row.name;
    EXPECT_EQ(traits.most_iterations, row.most_iterations) << row.name;
    EXPECT_EQ(traits.rows_sum_to_1, row.rows_sum_to_1) << row.name;
    for (int n = 1; n <= 4; ++n) {
      EXPECT_EQ(NumMixLogits(row.kind, n), row.logits[n - 1]) << row.name << " " << n;
      EXPECT_EQ(NumDynamicColumns(row.kind, n), row.columns[n - 1]) << row.name << " " << n;
    }
  }
  EXPECT_EQ(static_cast<int>(kLastMapping), number - 1);
}

TEST(Mapping, GatesAreSigmoidsButForTwo) {
  for (const Row& row : kRows) {
    const MappingTraits& traits = TraitsOf(row.kind);
    EXPECT_EQ(traits.read == ReadGate::kSigmoidPlusEps, row.kind == MappingKind::kDeepSeek);
    EXPECT_EQ(traits.write == WriteGate::kScalar, row.kind == MappingKind::kGatedResidual);
  }
}

// Entry k of the biases that H_res starts from, with 3 streams and -4 off the diagonal.
TEST(Mapping, BiasesStartAtTheIdentity) {
  for (const Row& row : kRows) {
    const auto start = TraitsOf(row.kind).start;
    for (int k = 0; k < NumMixLogits(row.kind, 3); ++k) {
      const bool diagonal = k == 0 || k == 4 || k == 8;
      double want = diagonal ? 0.0 : -4.0;
      if (row.kind == MappingKind::kPermutations) want = k == 0 ? 0.0 : -4.0;
      if (row.kind == MappingKind::kUnconstrained) want = diagonal ? 1.0 : 0.0;
      if (row.kind == MappingKind::kRetention) want = kRetentionStart;
      EXPECT_EQ(start(k, 3, -4.0), want) << row.name << " " << k;
    }
  }
  const double kept =
      kRetentionFloor + (1.0 - kRetentionFloor) / (1.0 + std::exp(-kRetentionStart));
  EXPECT_NEAR(kept, 0.999, 1e-15);
}

TEST(Mapping, EveryRowSaysWhatItIsAndWhoSaysSo) {
  std::set<std::string> names;
  for (const MappingTraits& traits : kMappings) {
    EXPECT_TRUE(names.insert(traits.name).second) << traits.name;
    EXPECT_FALSE(std::string(traits.meaning).empty()) << traits.name;
    EXPECT_FALSE(std::string(traits.source).empty()) << traits.name;
  }
}

}  // namespace
}  // namespace birkhoff
