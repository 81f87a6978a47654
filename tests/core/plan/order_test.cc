// Happens-before within a program.
#include "core/plan/order.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

// The fewest waits: none can be left out, and together they order the instruction after all of the
// dependencies.
TEST(ProgramOrder, KeepsTheFewestWaitsThatOrderAfterAll) {
  Rng rng(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<Instruction> program;
    for (int i = 0; i < 20; ++i) {
      Instruction instruction = On(static_cast<StreamKind>(rng.Below(4)), {}, 0);
      if (i > 0 && rng.Below(3) == 0) {
        instruction.waits = {static_cast<int>(rng.Below(static_cast<uint64_t>(i)))};
      }
      program.push_back(std::move(instruction));
    }
    std::vector<int> dependencies;
    for (int i = 0; i < 20; ++i) {
      if (rng.Below(4) == 0) dependencies.push_back(i);
    }
    const StreamKind stream = program.front().stream;
    ProgramOrder order = OrderOf(program);
    std::vector<int> kept = dependencies;
    order.KeepNeededWaits(stream, 0, &kept);
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
    // Is all ordered with these waits, and with one of them left out?
    const auto orders_all = [&](const std::vector<int>& waits) {
      std::vector<Instruction> longer = program;
      longer.push_back(On(stream, waits, 0));
      const ProgramOrder with = OrderOf(longer);
      return std::all_of(dependencies.begin(), dependencies.end(),
                         [&](int dependency) { return with.Before(dependency, 20); });
    };
    EXPECT_TRUE(orders_all(kept));
    for (size_t w = 0; w < kept.size(); ++w) {
      std::vector<int> fewer = kept;
      fewer.erase(fewer.begin() + static_cast<int>(w));
      EXPECT_FALSE(orders_all(fewer)) << "wait " << kept[w] << " was not needed";
    }
  }
}

TEST(ProgramOrder, KnowsTheLastOfEachStream) {
  const std::vector<Instruction> program = {On(kCompute), On(kChannel, {}, 0), On(kChannel, {}, 1),
                                            On(kCompute)};
  ProgramOrder order(program);
  EXPECT_EQ(order.LastOf(kCompute, -1), -1) << "nothing is appended yet";
  for (const Instruction& i : program) order.Append(i.stream, i.channel, i.waits);
  EXPECT_EQ(order.LastOf(kCompute, -1), 3);
  EXPECT_EQ(order.LastOf(kCompute, 7), 3) << "only channels are told apart by number";
  EXPECT_EQ(order.LastOf(kChannel, 0), 1);
  EXPECT_EQ(order.LastOf(kChannel, 1), 2);
  EXPECT_EQ(order.LastOf(kChannel, 2), -1);
  EXPECT_EQ(order.LastOf(kCopy, -1), -1) << "not in the program";
}

TEST(ProgramOrder, TakesTheSameDependencyOnce) {
  const std::vector<Instruction> program = {On(kCopy), On(kCompute)};
  ProgramOrder order = OrderOf(program);
  std::vector<int> waits = {0, 0, 0};
  order.KeepNeededWaits(kCompute, -1, &waits);
  EXPECT_THAT(waits, ElementsAre(0));
  waits = {};
  order.KeepNeededWaits(kCompute, -1, &waits);
  EXPECT_THAT(waits, IsEmpty());
}

}  // namespace
}  // namespace birkhoff
