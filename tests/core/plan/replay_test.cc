// Replays across ranks: meetings by hand, whole plans against times that are moved until they fit.
#include "core/plan/replay.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/ops.h"
#include "core/plan/simulate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr StreamKind kCompute = StreamKind::kCompute, kCopy = StreamKind::kCopy,
                     kChannel = StreamKind::kChannel;

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
  Instruction instruction;
  instruction.op = op;
  instruction.stream = stream;
  instruction.waits = std::move(waits);
  instruction.channel = stream == kChannel ? 0 : -1;
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

TEST(ReplayProgram, AgreesOnceAllRanksAreThere) {
  const auto agree = [](int64_t ns) { return Timed(Op::kAgree, StreamKind::kCollective, ns, {0}); };
  const Plan plan = TwoRanks({Timed(Op::kForward, kCompute, 10), agree(5)},
                             {Timed(Op::kForward, kCompute, 70), agree(6)});
  const Replay replay = ReplayProgram(plan, &RankPlan::train);
  EXPECT_THAT(replay.start_ns[0], ElementsAre(0, 70));
  EXPECT_THAT(replay.end_ns[0], ElementsAre(10, 75));
  EXPECT_THAT(replay.end_ns[1], ElementsAre(70, 76));
}

TEST(ReplayProgram, ReduceGradientMeetsNobody) {
  Instruction reduce = Timed(Op::kReduceGradient, StreamKind::kCollective, 9);
  reduce.bucket = 0;
  const Replay replay = ReplayProgram(TwoRanks({reduce}, {}), &RankPlan::train);
  EXPECT_TRUE(replay.complete);
  EXPECT_THAT(replay.end_ns[0], ElementsAre(9));
}

// The other program has nothing to say.
TEST(ReplayProgram, RunsTheProgramThatItIsGiven) {
  Plan plan = TwoRanks({Timed(Op::kSendActivation, kChannel, 1)}, {});
  EXPECT_FALSE(ReplayProgram(plan, &RankPlan::train).complete);
  const Replay replay = ReplayProgram(plan, &RankPlan::evaluate);
  EXPECT_TRUE(replay.complete);
  EXPECT_TRUE(replay.start_ns[0].empty());
}

// Two exchanges of one bucket are two meetings.
TEST(ReplayProgram, MeetsTurnByTurn) {
  const auto exchange = [](int64_t ns, std::vector<int> waits) {
    Instruction i = Timed(Op::kExchangeCopies, StreamKind::kCollective, ns, std::move(waits));
    i.bucket = 1;
    return i;
  };
  const Plan plan = TwoRanks({exchange(1, {}), Timed(Op::kForward, kCompute, 50), exchange(1, {1})},
                             {exchange(1, {}), exchange(1, {})});
  const Replay replay = ReplayProgram(plan, &RankPlan::train);
  ASSERT_TRUE(replay.complete);
  EXPECT_THAT(replay.start_ns[1], ElementsAre(0, 50));
}

// ---- Whole plans.

using Node = std::pair<int, int>;  // (rank, index)

// Who must be over before whom, and who meets whom, as docs/plan.md says it.
struct Rules {
  std::map<Node, std::vector<Node>> before;
  std::map<Node, std::vector<Node>> meets;  // all members, itself too
  std::map<Node, bool> alone;               // whom it would meet does not exist
  std::vector<Node> nodes;
};

Rules RulesOf(const Plan& plan) {
  Rules rules;
  std::map<std::tuple<int, int, int>, std::vector<Node>> meetings;  // (kind, number, turn)
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    const auto& program = plan.ranks[rank].train;
    std::map<std::tuple<int, int, int>, int> turns;
    for (int i = 0; i < static_cast<int>(program.size()); ++i) {
      const Instruction& instruction = program[i];
      const Node node = {rank, i};
      rules.nodes.push_back(node);
      for (const int wait : instruction.waits) rules.before[node].push_back({rank, wait});
      for (int j = i - 1; j >= 0; --j) {
        if (program[j].stream != instruction.stream) continue;
        if (instruction.stream == kChannel && program[j].channel != instruction.channel) continue;
        rules.before[node].push_back({rank, j});
        break;
      }
      const bool message = IsSend(instruction.op) || IsReceive(instruction.op);
      const bool all = instruction.op == Op::kAgree, copies = instruction.op == Op::kExchangeCopies;
      if (!message && !all && !copies) continue;
      const int kind = message ? 0 : (all ? 1 : 2);
      const int number = message ? instruction.channel : instruction.bucket;
      const int turn = turns[{kind, number, IsSend(instruction.op)}]++;
      meetings[{kind, number, turn}].push_back(node);
    }
  }
  for (const auto& [key, members] : meetings) {
    const auto [kind, number, turn] = key;
    const size_t needed = kind == 0   ? 2
                          : kind == 1 ? plan.ranks.size()
                                      : plan.buckets[static_cast<size_t>(number)].ranks.size();
    for (const Node& node : members) {
      rules.meets[node] = members;
      rules.alone[node] = members.size() < needed;
    }
  }
  return rules;
}

const Instruction& At(const Plan& plan, const Node& node) {
  return plan.ranks[node.first].train[node.second];
}

// Starts at 0 everywhere, and later wherever a rule says so, until all rules hold.
std::map<Node, int64_t> MovedUntilTheyFit(const Plan& plan, const Rules& rules) {
  std::map<Node, int64_t> start;
  bool moved = true;
  while (moved) {
    moved = false;
    for (const Node& node : rules.nodes) {
      int64_t at = start[node];
      if (const auto found = rules.before.find(node); found != rules.before.end()) {
        for (const Node& other : found->second) {
          at = std::max(at, start[other] + At(plan, other).estimated_ns);
        }
      }
      if (const auto found = rules.meets.find(node); found != rules.meets.end()) {
        for (const Node& other : found->second) at = std::max(at, start[other]);
      }
      moved |= at != start[node];
      start[node] = at;
    }
  }
  return start;
}

TEST(ReplayProgram, GivesTheEarliestTimesOfRandomPlans) {
  Rng rng(41);
  for (int round = 0; round < 25; ++round) {
    Plan plan = CompileOrDie(SmallSpec(RandomJob(rng, 4)));
    for (RankPlan& rank : plan.ranks) {
      for (Instruction& i : rank.train) i.estimated_ns = static_cast<int64_t>(rng.Below(100));
    }
    const Replay replay = ReplayProgram(plan, &RankPlan::train);
    ASSERT_TRUE(replay.complete);
    int64_t makespan = 0, busy = 0, agreed = 0;
    for (const auto& [node, at] : MovedUntilTheyFit(plan, RulesOf(plan))) {
      const Instruction& i = At(plan, node);
      const int64_t end = at + i.estimated_ns;
      ASSERT_EQ(replay.start_ns[node.first][node.second], at)
          << "rank " << node.first << " [" << node.second << "] " << OpName(i.op);
      EXPECT_EQ(replay.end_ns[node.first][node.second], end);
      makespan = std::max(makespan, end);
      if (i.op == Op::kAgree) agreed = std::max(agreed, end);
      const bool computes = i.op == Op::kForward || i.op == Op::kRecompute ||
                            i.op == Op::kBackward || i.op == Op::kBackwardInput ||
                            i.op == Op::kBackwardWeight;
      if (computes) busy += i.estimated_ns;
    }
    const auto simulation = SimulateTrain(plan);
    ASSERT_TRUE(simulation.ok());
    EXPECT_EQ(simulation->makespan_ns, makespan);
    EXPECT_NEAR(simulation->idle_share,
                1.0 - static_cast<double>(busy) / (static_cast<double>(agreed) * plan.num_ranks),
                1e-12);
  }
}

// One message or sum left out: what is reached and never ends is named, and nothing else.
TEST(ReplayProgram, NamesExactlyWhatHangsInBrokenPlans) {
  Rng rng(42);
  int hung = 0;
  for (int round = 0; round < 60; ++round) {
    Plan plan = CompileOrDie(SmallSpec(RandomJob(rng, 4)));
    auto& program = plan.ranks[rng.Below(plan.ranks.size())].train;
    const auto meets_somebody = [](const Instruction& i) {
      return IsSend(i.op) || IsReceive(i.op) || InfoOf(i.op).meets != Meets::kNobody;
    };
    size_t at = rng.Below(program.size());
    while (!meets_somebody(program[at])) at = (at + 1) % program.size();
    // It becomes one that meets nobody, on its own stream.
    program[at].op = Op::kFree;
    const Rules rules = RulesOf(plan);
    std::set<Node> reached, over;
    bool moved = true;
    while (moved) {
      moved = false;
      for (const Node& node : rules.nodes) {
        const auto before = rules.before.find(node);
        const bool ready = before == rules.before.end() ||
                           std::all_of(before->second.begin(), before->second.end(),
                                       [&](const Node& other) { return over.contains(other); });
        if (ready) moved |= reached.insert(node).second;
        if (!ready || over.contains(node)) continue;
        const auto meets = rules.meets.find(node);
        const bool ends = meets == rules.meets.end() ||
                          (!rules.alone.at(node) &&
                           std::all_of(meets->second.begin(), meets->second.end(),
                                       [&](const Node& other) { return reached.contains(other); }));
        if (ends) moved |= over.insert(node).second;
      }
    }
    std::vector<Node> hanging;
    for (const Node& node : rules.nodes) {
      if (reached.contains(node) && !over.contains(node)) hanging.push_back(node);
    }
    const Replay replay = ReplayProgram(plan, &RankPlan::train);
    EXPECT_EQ(replay.complete, over.size() == rules.nodes.size());
    EXPECT_EQ(replay.hanging, hanging);
    EXPECT_EQ(SimulateTrain(plan).ok(), replay.complete);
    hung += !replay.complete;
  }
  EXPECT_GT(hung, 40);
}

}  // namespace
}  // namespace birkhoff
