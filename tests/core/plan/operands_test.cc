// What instructions do to memory, against the table of docs/plan.md, for stages with and without
// each home.
#include "core/plan/operands.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/spec/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

std::string Names(HomeSet homes) {
  std::string names;
  for (int home = 0; home < kNumHomes; ++home) {
    if (!homes.Has(static_cast<Home>(home))) continue;
    absl::StrAppend(&names, names.empty() ? "" : " ", HomeName(static_cast<Home>(home)));
  }
  return names;
}

// "reads | fills | releases"
std::string Words(const Operands& operands) {
  return absl::StrCat(Names(operands.reads), " | ", Names(operands.fills), " | ",
                      Names(operands.released));
}

StageLayout LayoutOf(UnitRange units, int recompute) {
  LayoutRequest request;
  request.model = SmallSpec({.layers = 4}).model;  // 10 units
  request.units = units;
  request.recompute_block = recompute;
  request.tokens = 4;
  request.sequence_length = 4;
  return MakeStageLayout(request);
}

constexpr SegmentPosition kOnly = {true, true}, kTop = {true, false}, kMiddle = {false, false},
                          kBottom = {false, true};

struct Row {
  Op op;
  SegmentPosition position;
  bool evaluates;
  const char* words;
};

void ExpectRows(const StageLayout& layout, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    EXPECT_EQ(Words(OperandsOf(row.op, layout, row.position, row.evaluates)), row.words)
        << OpName(row.op) << (row.position.first ? " first" : "")
        << (row.position.last ? " last" : "") << (row.evaluates ? " evaluates" : "");
  }
}

// In the middle of the row a stage has every home.
TEST(OperandsOf, AStageInTheMiddle) {
  ExpectRows(
      LayoutOf({3, 7}, 2),
      {{Op::kLoad, kOnly, false, " | batch | "},
       {Op::kForward, kOnly, false, "batch input | saved kept output scratch | "},
       {Op::kForward, kOnly, true,
        "batch input | saved kept output scratch | batch input saved kept"},
       {Op::kRecompute, kOnly, false, "batch input saved kept | recompute scratch | "},
       {Op::kBackwardInput, kOnly, false,
        "batch input saved kept gradient-in recompute | gradient-out pending scratch | input saved "
        "gradient-in recompute"},
       {Op::kBackwardInput, kTop, false,
        "batch input saved kept gradient-in recompute | gradient-out pending scratch | recompute"},
       {Op::kBackwardInput, kMiddle, false,
        "batch input saved kept gradient-in gradient-out pending recompute | scratch | recompute"},
       {Op::kBackwardInput, kBottom, false,
        "batch input saved kept gradient-in gradient-out pending recompute | scratch | input saved "
        "gradient-in recompute"},
       {Op::kBackwardWeight, kOnly, false, "batch kept pending | scratch | batch kept pending"},
       {Op::kBackward, kOnly, false,
        "batch input saved kept gradient-in recompute | gradient-out scratch | batch input saved "
        "kept gradient-in recompute"},
       {Op::kBackward, kBottom, false,
        "batch input saved kept gradient-in gradient-out recompute | scratch | batch input saved "
        "kept gradient-in recompute"},
       {Op::kSendActivation, kOnly, false, "output |  | output"},
       {Op::kReceiveActivation, kOnly, false, " | input | "},
       {Op::kSendGradient, kOnly, false, "gradient-out |  | gradient-out"},
       {Op::kReceiveGradient, kOnly, false, " | gradient-in | "},
       {Op::kHandOffActivation, kOnly, false, "output |  | output"},
       {Op::kHandOffGradient, kOnly, false, "gradient-out |  | gradient-out"},
       {Op::kFree, kOnly, false, " |  | "},
       {Op::kAgree, kOnly, false, " |  | "},
       {Op::kOverlapBegin, kOnly, false, " |  | "}});
}

// Without a stage before it the gradient goes nowhere: it is released with the last segment.
TEST(OperandsOf, AStageWithTheEmbedding) {
  ExpectRows(LayoutOf({0, 4}, 0),
             {{Op::kForward, kOnly, false, "batch | saved kept output scratch | "},
              {Op::kBackward, kOnly, false,
               "batch saved kept gradient-in | gradient-out scratch | batch saved kept gradient-in "
               "gradient-out"},
              {Op::kBackwardInput, kTop, false,
               "batch saved kept gradient-in | gradient-out pending scratch | "},
              {Op::kBackwardInput, kBottom, false,
               "batch saved kept gradient-in gradient-out pending | scratch | saved gradient-in "
               "gradient-out"}});
}

TEST(OperandsOf, TheEmbeddingAlone) {
  ExpectRows(LayoutOf({0, 1}, 2),
             {{Op::kForward, kOnly, false, "batch | output | "},
              {Op::kForward, kOnly, true, "batch | output | batch"},
              {Op::kBackward, kOnly, false, "batch gradient-in |  | batch gradient-in"},
              {Op::kBackwardInput, kOnly, false, "batch gradient-in |  | gradient-in"},
              {Op::kBackwardWeight, kOnly, false, "batch |  | batch"}});
}

TEST(OperandsOf, TheHeadAlone) {
  ExpectRows(LayoutOf({9, 10}, 0), {{Op::kForward, kOnly, false, "batch input | saved scratch | "},
                                    {Op::kBackwardInput, kOnly, false,
                                     "batch input saved | gradient-out scratch | input saved"},
                                    {Op::kBackwardWeight, kOnly, false, "batch | scratch | batch"},
                                    {Op::kReceiveGradient, kOnly, false, " |  | "}});
}

TEST(HandOff, FillsTheNeighbourThatReadsIt) {
  EXPECT_EQ(HandOffTarget(Op::kHandOffActivation), Home::kInput);
  EXPECT_EQ(HandOffTargetStage(Op::kHandOffActivation, 2), 3);
  EXPECT_EQ(HandOffTarget(Op::kHandOffGradient), Home::kGradientIn);
  EXPECT_EQ(HandOffTargetStage(Op::kHandOffGradient, 2), 1);
}

// Segments cover the stage without gap or overlap, each holds its block, and each leads back to it.
TEST(Segments, CoverTheStageAndLeadBackToTheirBlocks) {
  for (int first = 0; first < 10; ++first) {
    for (int last = first + 1; last <= 10; ++last) {
      for (const int recompute : {0, 1, 2, 3, 100}) {
        const StageLayout layout = LayoutOf({first, last}, recompute);
        const auto& blocks = layout.recompute_blocks;
        int next = first;
        for (size_t block = 0; block < blocks.size(); ++block) {
          const UnitRange segment = SegmentOfBlock(layout, block);
          EXPECT_EQ(segment.first, next);
          EXPECT_LE(segment.first, blocks[block].first);
          EXPECT_GE(segment.last, blocks[block].last);
          EXPECT_LE(blocks[block].last - blocks[block].first, recompute);
          EXPECT_EQ(BlockOfSegment(layout, segment), blocks[block]);
          next = segment.last;
        }
        if (!blocks.empty()) {
          EXPECT_EQ(next, last);
        }
        EXPECT_EQ(BlockOfSegment(layout, {first, last}).last > 0, blocks.size() == 1);
        EXPECT_EQ(BlockOfSegment(layout, {first, first}), UnitRange{});
      }
    }
  }
}

TEST(HomesOf, AreThoseWithBytes) {
  StageLayout layout;
  EXPECT_TRUE(HomesOf(layout).empty());
  layout.bytes[static_cast<int>(Home::kScratch)] = 1;
  layout.bytes[static_cast<int>(Home::kBatch)] = 64;
  EXPECT_EQ(HomesOf(layout), (HomeSet{Home::kBatch, Home::kScratch}));
}

TEST(HomeSet, IsASet) {
  HomeSet homes;
  EXPECT_TRUE(homes.empty());
  homes.Add(Home::kScratch);  // the last, of the highest bit
  homes.Add(Home::kScratch);
  EXPECT_FALSE(homes.empty());
  EXPECT_EQ(homes, HomeSet{Home::kScratch});
  for (int home = 0; home < kNumHomes; ++home) {
    EXPECT_EQ(homes.Has(static_cast<Home>(home)), home == kNumHomes - 1);
  }
  const HomeSet more = homes | HomeSet{Home::kBatch, Home::kInput};
  EXPECT_EQ(more & (HomeSet{Home::kInput, Home::kSaved}), HomeSet{Home::kInput});
  EXPECT_TRUE((homes & HomeSet{Home::kInput}).empty());
}

}  // namespace
}  // namespace birkhoff
