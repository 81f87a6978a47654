// Happens-before within a program, and replays across ranks.
#include "core/plan/order.h"

#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/replay.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

Instruction On(StreamKind stream, std::vector<int> waits = {}, int channel = -1) {
  Instruction instruction;
  instruction.stream = stream;
  instruction.waits = std::move(waits);
  instruction.channel = channel;
  return instruction;
}

ProgramOrder OrderOf(const std::vector<Instruction>& program) {
  ProgramOrder order(program);
  for (const Instruction& i : program) order.Append(i.stream, i.channel, i.waits);
  return order;
}

constexpr StreamKind kCompute = StreamKind::kCompute, kCopy = StreamKind::kCopy,
                     kChannel = StreamKind::kChannel;

TEST(ProgramOrder, OrdersAStreamAndWhatItWaitsFor) {
  const ProgramOrder order = OrderOf({On(kCopy), On(kCompute, {0}), On(kCopy), On(kCompute)});
  EXPECT_TRUE(order.Before(0, 1));
  EXPECT_TRUE(order.Before(0, 3));  // through 1
  EXPECT_FALSE(order.Before(2, 3));
  EXPECT_FALSE(order.Before(3, 2));
  EXPECT_FALSE(order.Before(1, 1));
}

TEST(ProgramOrder, KeepsChannelsApart) {
  const ProgramOrder order =
      OrderOf({On(kChannel, {}, 0), On(kChannel, {}, 1), On(kChannel, {}, 0)});
  EXPECT_FALSE(order.Before(0, 1));
  EXPECT_TRUE(order.Before(0, 2));
}

TEST(ProgramOrder, KeepsOnlyTheWaitsThatAreNeeded) {
  const std::vector<Instruction> program = {On(kCopy), On(kCompute, {0}), On(kChannel, {1}, 0),
                                            On(kCopy)};
  ProgramOrder order = OrderOf(program);
  std::vector<int> waits = {0, 1, 2};  // 2 came after 1, which came after 0
  order.KeepNeededWaits(kCompute, -1, &waits);
  EXPECT_THAT(waits, ElementsAre(2));
  waits = {0, 1};  // the stream's own past
  order.KeepNeededWaits(kCompute, -1, &waits);
  EXPECT_THAT(waits, IsEmpty());
  waits = {2, 3};
  order.KeepNeededWaits(kCompute, -1, &waits);
  EXPECT_THAT(waits, ElementsAre(2, 3));
}

// The vector clocks against a closure of the graph, on random programs.
TEST(ProgramOrder, AgreesWithTheClosureOfTheGraph) {
  Rng rng(4);
  for (int round = 0; round < 50; ++round) {
    std::vector<Instruction> program;
    std::vector<std::vector<bool>> before;  // [later][earlier]
    for (int i = 0; i < 40; ++i) {
      Instruction instruction = On(static_cast<StreamKind>(rng.Below(5)));
      if (i > 0 && rng.Below(2) == 0) {
        instruction.waits = {static_cast<int>(rng.Below(static_cast<uint64_t>(i)))};
      }
      before.emplace_back(40, false);
      for (int j = 0; j < i; ++j) {
        const bool direct = program[j].stream == instruction.stream ||
                            (!instruction.waits.empty() && instruction.waits[0] == j);
        if (!direct) continue;
        before[i][j] = true;
        for (int k = 0; k < j; ++k) before[i][k] = before[i][k] || before[j][k];
      }
      program.push_back(std::move(instruction));
    }
    const ProgramOrder order = OrderOf(program);
    for (int i = 0; i < 40; ++i) {
      for (int j = 0; j < 40; ++j) EXPECT_EQ(order.Before(j, i), before[i][j]) << j << " " << i;
    }
  }
}

// ---- Replay.

// Two ranks and one channel from 0 to 1.
Plan TwoRanks(std::vector<Instruction> first, std::vector<Instruction> second) {
  Plan plan;
  plan.num_ranks = 2;
  plan.channels = {{0, 1, ChannelKind::kActivation, 0}};
  plan.buckets = {{{}, {0, 1}}, {{}, {0, 1}}};
  plan.ranks.resize(2);
  plan.ranks[0].train = std::move(first);
  plan.ranks[1].train = std::move(second);
  return plan;
}

Instruction Timed(Op op, StreamKind stream, int64_t ns, std::vector<int> waits = {}) {
  Instruction instruction = On(stream, std::move(waits), stream == kChannel ? 0 : -1);
  instruction.op = op;
  instruction.estimated_ns = ns;
  return instruction;
}

TEST(ReplayProgram, StartsAMessageWhenBothEndsAreThere) {
  const Plan plan = TwoRanks(
      {Timed(Op::kForward, kCompute, 10), Timed(Op::kSendActivation, kChannel, 3, {0})},
      {Timed(Op::kReceiveActivation, kChannel, 3), Timed(Op::kForward, kCompute, 20, {0})});
  const Replay replay = ReplayProgram(plan, &RankPlan::train);
  ASSERT_TRUE(replay.complete);
  EXPECT_THAT(replay.start_ns[0], ElementsAre(0, 10));
  EXPECT_THAT(replay.end_ns[0], ElementsAre(10, 13));
  EXPECT_THAT(replay.start_ns[1], ElementsAre(10, 13));
  EXPECT_THAT(replay.end_ns[1], ElementsAre(13, 33));
}

TEST(ReplayProgram, LetsStreamsRunBesideEachOther) {
  const Plan plan = TwoRanks({Timed(Op::kForward, kCompute, 10), Timed(Op::kLoad, kCopy, 4),
                              Timed(Op::kForward, kCompute, 10)},
                             {});
  const Replay replay = ReplayProgram(plan, &RankPlan::train);
  EXPECT_THAT(replay.end_ns[0], ElementsAre(10, 4, 20));
}

TEST(ReplayProgram, NamesWhatHangs) {
  const Plan plan =
      TwoRanks({Timed(Op::kForward, kCompute, 1), Timed(Op::kSendActivation, kChannel, 1, {0})},
               {Timed(Op::kForward, kCompute, 1)});
  const Replay replay = ReplayProgram(plan, &RankPlan::train);
  EXPECT_FALSE(replay.complete);
  EXPECT_THAT(replay.hanging, ElementsAre(Pair(0, 1)));
}

TEST(ReplayProgram, HangsOnCollectivesInAnotherOrder) {
  const auto exchange = [](int bucket) {
    Instruction i = Timed(Op::kExchangeCopies, StreamKind::kCollective, 1);
    i.bucket = bucket;
    return i;
  };
  EXPECT_TRUE(ReplayProgram(TwoRanks({exchange(0), exchange(1)}, {exchange(0), exchange(1)}),
                            &RankPlan::train)
                  .complete);
  const Replay replay = ReplayProgram(
      TwoRanks({exchange(0), exchange(1)}, {exchange(1), exchange(0)}), &RankPlan::train);
  EXPECT_FALSE(replay.complete);
  EXPECT_THAT(replay.hanging, ElementsAre(Pair(0, 0), Pair(1, 0)));
}

}  // namespace
}  // namespace birkhoff
