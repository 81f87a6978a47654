#include "worker/microbatch.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/worker/small_model.h"

namespace birkhoff {
namespace {

StageLayout Layout(int64_t capacity) {
  return MakeStageLayout({.model = SmallModel(ResidualKind::kMhc),
                          .units = {1, 3},
                          .tokens = capacity,
                          .sequence_length = 8});
}

struct Batch {
  explicit Batch(const StageLayout& layout) : bytes(layout.BytesOf(Home::kBatch)) {}
  std::vector<std::byte> bytes;
};

std::vector<int32_t> Values(const int32_t* values, int64_t count) {
  return {values, values + count};
}

TEST(Microbatch, ReadsBackWhatWasWritten) {
  const StageLayout layout = Layout(/*capacity=*/8);
  Batch batch(layout);
  const int lengths[] = {3, 2};
  const std::vector<int32_t> inputs = {5, 6, 7, 8, 9}, targets = {6, 7, -1, 9, 1};
  WriteMicrobatch(layout, lengths, inputs, targets, batch.bytes.data());
  const Microbatch view = ViewMicrobatch(layout, batch.bytes.data());
  EXPECT_EQ(view.tokens, 5);
  EXPECT_EQ(view.num_sequences, 2);
  EXPECT_EQ(Values(view.sequence_starts, 3), (std::vector<int32_t>{0, 3, 5}));
  EXPECT_EQ(Values(view.positions, 5), (std::vector<int32_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(Values(view.inputs, 5), inputs);
  EXPECT_EQ(Values(view.targets, 5), targets);
}

TEST(Microbatch, LetsTheLoaderPlaceTokens) {
  const StageLayout layout = Layout(/*capacity=*/4);
  Batch batch(layout);
  const MicrobatchTokens tokens = TokensOf(layout, batch.bytes.data());
  ASSERT_EQ(tokens.inputs.size(), 4u);
  ASSERT_EQ(tokens.targets.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    tokens.inputs[i] = i;
    tokens.targets[i] = i + 1;
  }
  const int lengths[] = {1, 1, 1, 1};  // as many sequences as tokens
  DescribeMicrobatch(layout, lengths, batch.bytes.data());
  const Microbatch view = ViewMicrobatch(layout, batch.bytes.data());
  EXPECT_EQ(Values(view.sequence_starts, 5), (std::vector<int32_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(Values(view.inputs, 4), (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(Values(view.targets, 4), (std::vector<int32_t>{1, 2, 3, 4}));
}

TEST(Microbatch, RefusesMoreThanItsCapacity) {
  const StageLayout layout = Layout(/*capacity=*/4);
  Batch batch(layout);
  const int lengths[] = {3, 2};
  EXPECT_DEATH(DescribeMicrobatch(layout, lengths, batch.bytes.data()), "beyond its capacity");
}

TEST(Microbatch, RefusesTokensWithoutTargets) {
  const StageLayout layout = Layout(/*capacity=*/4);
  Batch batch(layout);
  const int lengths[] = {3};
  const std::vector<int32_t> inputs = {1, 2, 3}, targets = {1, 2};
  EXPECT_DEATH(WriteMicrobatch(layout, lengths, inputs, targets, batch.bytes.data()),
               "one target for each token");
}

}  // namespace
}  // namespace birkhoff
