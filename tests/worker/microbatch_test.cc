// Packed sequences, and the image of a micro-batch: written as a host does, read as a stage does.
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

std::vector<int32_t> Values(const int32_t* values, int64_t count) {
  return {values, values + count};
}

TEST(PackedSequences, FollowEachOther) {
  const PackedSequences packed(std::vector<int>{3, 2});
  EXPECT_EQ(packed.shape().tokens, 5);
  EXPECT_EQ(packed.shape().num_sequences, 2);
  EXPECT_EQ(Values(packed.shape().sequence_starts, 3), (std::vector<int32_t>{0, 3, 5}));
}

TEST(PackedSequences, RefuseAnEmptySequence) {
  EXPECT_DEATH(PackedSequences(std::vector<int>{3, 0}), "at least one token");
}

TEST(Microbatch, IsReadWhereItsImageWasWritten) {
  const StageLayout layout = Layout(/*capacity=*/8);
  std::vector<std::byte> image(layout.BytesOf(Home::kBatch));
  const PackedSequences packed(std::vector<int>{3, 2});
  const std::vector<int32_t> inputs = {5, 6, 7, 8, 9}, targets = {6, 7, -1, 9, 1};
  WritePositions(layout, packed.shape(), image.data());
  const MicrobatchTokens tokens = TokensOf(layout, image.data());
  ASSERT_EQ(tokens.inputs.size(), 8u);
  ASSERT_EQ(tokens.targets.size(), 8u);
  std::copy(inputs.begin(), inputs.end(), tokens.inputs.begin());
  std::copy(targets.begin(), targets.end(), tokens.targets.begin());

  const Microbatch view =
      ViewMicrobatch(layout, packed.shape(), DevicePtr<std::byte>(image.data()));
  EXPECT_EQ(view.shape.tokens, 5);
  EXPECT_EQ(Values(view.positions, 5), (std::vector<int32_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(Values(view.inputs, 5), inputs);
  EXPECT_EQ(Values(view.targets, 5), targets);
}

TEST(Microbatch, MayHaveAsManySequencesAsTokens) {
  const StageLayout layout = Layout(/*capacity=*/4);
  std::vector<std::byte> image(layout.BytesOf(Home::kBatch));
  const PackedSequences packed(std::vector<int>{1, 1, 1, 1});
  WritePositions(layout, packed.shape(), image.data());
  const Microbatch view =
      ViewMicrobatch(layout, packed.shape(), DevicePtr<std::byte>(image.data()));
  EXPECT_EQ(Values(view.positions, 4), (std::vector<int32_t>{0, 0, 0, 0}));
}

TEST(Microbatch, RefusesMoreThanItsCapacity) {
  const StageLayout layout = Layout(/*capacity=*/4);
  std::vector<std::byte> image(layout.BytesOf(Home::kBatch));
  const PackedSequences packed(std::vector<int>{3, 2});
  EXPECT_DEATH(WritePositions(layout, packed.shape(), image.data()), "beyond its capacity");
}

}  // namespace
}  // namespace birkhoff
