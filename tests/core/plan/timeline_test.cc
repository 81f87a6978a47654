// Timelines against the longest path through the same schedule, found by going over all ops until
// nothing gets later; and how long every schedule takes, by formula.
#include "core/plan/timeline.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

bool IsInputGradient(Op op) { return op == Op::kBackward || op == Op::kBackwardInput; }

int64_t DurationOf(const ScheduledOp& op, const TimelineCosts& costs) {
  int64_t duration = 0;
  if (op.op == Op::kForward) duration += costs.forward[op.stage];
  if (IsInputGradient(op.op)) duration += costs.backward_input[op.stage];
  if (op.op == Op::kBackward || op.op == Op::kBackwardWeight) {
    duration += costs.backward_weight[op.stage];
  }
  return duration;
}

struct LongestPath {
  bool ends = false;
  std::vector<std::vector<int64_t>> start;
  int64_t makespan = 0;
};

// Starts at 0 everywhere; each round moves what must come later.  Costs are positive, so a circle
// moves for ever: more rounds than ops mean one.
LongestPath FindLongestPath(const Schedule& schedule, const TimelineCosts& costs) {
  LongestPath path;
  int num_ops = 0;
  for (const auto& ops : schedule.ranks) {
    path.start.emplace_back(ops.size(), 0);
    num_ops += static_cast<int>(ops.size());
  }
  // When the forward (0) or the input gradient (1) of a cell leaves its rank.
  const size_t cells = schedule.stage_ranks.size() * schedule.num_microbatches;
  std::vector<int64_t> leaves[2] = {std::vector<int64_t>(cells), std::vector<int64_t>(cells)};
  const auto cell = [&](int stage, int m) {
    return static_cast<size_t>(stage) * schedule.num_microbatches + m;
  };
  const auto arrives = [&](int kind, int rank, int stage, int m) {
    const bool travels = schedule.RankOf(stage, m) != rank;
    return leaves[kind][cell(stage, m)] + (travels ? costs.transfer : 0);
  };
  for (int round = 0; round <= num_ops + 1; ++round) {
    bool moved = false;
    for (int rank = 0; rank < schedule.NumRanks(); ++rank) {
      const auto& ops = schedule.ranks[rank];
      int64_t clock = 0;
      for (size_t first = 0; first < ops.size();) {
        size_t last = first;  // of a step: one op, or all of an atomic pair
        if (costs.atomic && ops[first].op == Op::kOverlapBegin) {
          while (ops[last].op != Op::kOverlapEnd) ++last;
        }
        for (size_t i = first; i <= last; ++i) {
          const ScheduledOp& op = ops[i];
          if (op.op == Op::kForward && op.stage > 0) {
            clock = std::max(clock, arrives(0, rank, op.stage - 1, op.microbatch));
          }
          if (IsInputGradient(op.op) && op.stage + 1 < schedule.NumStages()) {
            clock = std::max(clock, arrives(1, rank, op.stage + 1, op.microbatch));
          }
        }
        int64_t end = clock;
        for (size_t i = first; i <= last; ++i) end += DurationOf(ops[i], costs);
        for (size_t i = first; i <= last; ++i) {
          moved |= path.start[rank][i] != clock;
          path.start[rank][i] = clock;
          const int64_t early =
              clock + (ops[i].op == Op::kBackward ? costs.backward_input[ops[i].stage]
                                                  : DurationOf(ops[i], costs));
          const int64_t out = costs.atomic ? end : early;
          const bool makes = ops[i].op == Op::kForward || IsInputGradient(ops[i].op);
          if (makes) {
            int64_t& known =
                leaves[IsInputGradient(ops[i].op)][cell(ops[i].stage, ops[i].microbatch)];
            moved |= known != out;
            known = out;
          }
          clock += DurationOf(ops[i], costs);
        }
        first = last + 1;
      }
      path.makespan = std::max(path.makespan, clock);
    }
    if (!moved) {
      path.ends = true;
      break;
    }
  }
  return path;
}

TimelineCosts RandomCosts(const Schedule& schedule, Rng& rng) {
  TimelineCosts costs = UnitCosts(schedule);
  for (auto* of_stages : {&costs.forward, &costs.backward_input, &costs.backward_weight}) {
    for (int64_t& cost : *of_stages) cost = static_cast<int64_t>(1 + rng.Below(9));
  }
  costs.transfer = static_cast<int64_t>(rng.Below(6));
  costs.atomic = rng.Below(2) == 0;
  return costs;
}

void ExpectLongestPath(const Schedule& schedule, const TimelineCosts& costs) {
  const Timeline timeline = TimeSchedule(schedule, costs);
  const LongestPath path = FindLongestPath(schedule, costs);
  ASSERT_EQ(timeline.complete, path.ends);
  if (!path.ends) return;
  EXPECT_EQ(timeline.makespan, path.makespan);
  int64_t work = 0;
  for (int rank = 0; rank < schedule.NumRanks(); ++rank) {
    EXPECT_EQ(timeline.start[rank], path.start[rank]) << "rank " << rank;
    for (size_t i = 0; i < schedule.ranks[rank].size(); ++i) {
      const int64_t duration = DurationOf(schedule.ranks[rank][i], costs);
      EXPECT_EQ(timeline.end[rank][i] - timeline.start[rank][i], duration);
      work += duration;
    }
  }
  const double all = static_cast<double>(path.makespan) * schedule.NumRanks();
  EXPECT_NEAR(timeline.idle_share, 1.0 - static_cast<double>(work) / all, 1e-12);
}

TEST(Timeline, IsTheLongestPathOfEverySmallSchedule) {
  Rng rng(21);
  for (const SmallJob& job : SmallGrid(5)) {
    const Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
    for (int i = 0; i < 6; ++i) ExpectLongestPath(schedule, RandomCosts(schedule, rng));
    if (job.microbatches % 2 == 0) {
      const Schedule forwards = MakeForwardSchedule(job.schedule, job.ranks, job.microbatches);
      ExpectLongestPath(forwards, RandomCosts(forwards, rng));
    }
  }
}

// Two ops of a rank trade places: many of these schedules wait for ever, and must say so.
TEST(Timeline, SaysWhichDisordersNeverEnd) {
  Rng rng(22);
  int ended = 0, endless = 0;
  for (const SmallJob& job : SmallGrid(4)) {
    for (int i = 0; i < 10; ++i) {
      Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
      TimelineCosts costs = RandomCosts(schedule, rng);
      costs.atomic = false;  // a swap may tear a pair apart
      auto& ops = schedule.ranks[rng.Below(schedule.ranks.size())];
      std::swap(ops[rng.Below(ops.size())], ops[rng.Below(ops.size())]);
      ExpectLongestPath(schedule, costs);
      ++(TimeSchedule(schedule, costs).complete ? ended : endless);
    }
  }
  EXPECT_GT(ended, 50);
  EXPECT_GT(endless, 50);
}

TEST(Timeline, OfNothingIsEmpty) {
  Schedule schedule{ScheduleKind::k1F1B, 0, {{0}, {1}}, {{}, {}}};
  const Timeline timeline = TimeSchedule(schedule, UnitCosts(schedule));
  EXPECT_TRUE(timeline.complete);
  EXPECT_EQ(timeline.makespan, 0);
  EXPECT_EQ(timeline.idle_share, 0.0);
}

// One forward on the first of two ranks, its only reader on the second.
TEST(Timeline, AddsTheTransferBetweenRanksOnly) {
  const std::vector<ScheduledOp> both = {{Op::kForward, 0, 0}, {Op::kForward, 1, 0}};
  Schedule apart{ScheduleKind::k1F1B, 1, {{0}, {1}}, {{both[0]}, {both[1]}}};
  Schedule together{ScheduleKind::k1F1B, 1, {{0}, {0}}, {both}};
  TimelineCosts costs{{10, 10}, {1, 1}, {1, 1}, 7, false};
  EXPECT_THAT(TimeSchedule(apart, costs).start[1], ElementsAre(17));
  EXPECT_THAT(TimeSchedule(together, costs).start[0], ElementsAre(0, 10));
}

// A pair whose forward is read next door: with its end, or as soon as it is there; and a gradient
// before its weight gradient, or with it.
TEST(Timeline, AtomicPairsLetGoAtTheirEnd) {
  Schedule schedule{ScheduleKind::k1F1B,
                    2,
                    {{0}, {1}},
                    {{{Op::kForward, 0, 0}, {Op::kForward, 0, 1}, {Op::kBackward, 0, 0}},
                     {{Op::kForward, 1, 0},
                      {Op::kOverlapBegin, -1, -1},
                      {Op::kForward, 1, 1},
                      {Op::kBackward, 1, 0},
                      {Op::kOverlapEnd, -1, -1}}}};
  TimelineCosts costs{{1, 2}, {3, 4}, {5, 6}, 0, false};
  EXPECT_EQ(TimeSchedule(schedule, costs).start[0][2], 1 + 2 + 2 + 4);
  costs.atomic = true;
  EXPECT_EQ(TimeSchedule(schedule, costs).start[0][2], 1 + 2 + 2 + 4 + 6);
}

// The forward of a pair leaves with the pair, though its backward comes later.
TEST(Timeline, AtomicPairsKeepTheirForwardToTheirEnd) {
  Schedule schedule{ScheduleKind::k1F1B,
                    2,
                    {{0}, {1}},
                    {{{Op::kForward, 0, 0},
                      {Op::kOverlapBegin, -1, -1},
                      {Op::kForward, 0, 1},
                      {Op::kBackward, 0, 0},
                      {Op::kOverlapEnd, -1, -1}},
                     {{Op::kForward, 1, 0}, {Op::kBackward, 1, 0}, {Op::kForward, 1, 1}}}};
  TimelineCosts costs{{1, 2}, {3, 4}, {5, 6}, 0, false};
  const int64_t of_rank1 = 1 + 2 + 4 + 6;  // its first forward and backward
  EXPECT_EQ(TimeSchedule(schedule, costs).start[1][2], of_rank1);
  costs.atomic = true;
  EXPECT_EQ(TimeSchedule(schedule, costs).start[0][2], of_rank1);
  EXPECT_EQ(TimeSchedule(schedule, costs).start[1][2], of_rank1 + 1 + 3 + 5);
}

// How long a step takes when forward, input gradient and weight gradient take one unit each.
TEST(Timeline, OfEverySmallScheduleTakesWhatTheFormulaSays) {
  for (const SmallJob& job : SmallGrid(8)) {
    const int64_t ranks = job.ranks, microbatches = job.microbatches;
    const Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
    TimelineCosts costs = UnitCosts(schedule);
    const int64_t early = TimeSchedule(schedule, costs).makespan;
    costs.atomic = true;
    const int64_t atomic = TimeSchedule(schedule, costs).makespan;
    const std::string where = std::string(ScheduleName(job.schedule)) +
                              " R=" + std::to_string(ranks) + " M=" + std::to_string(microbatches);
    switch (job.schedule) {
      case ScheduleKind::k1F1B:
        EXPECT_EQ(atomic, 3 * microbatches + 3 * (ranks - 1)) << where;
        EXPECT_EQ(early, 3 * microbatches + 2 * (ranks - 1)) << where;
        break;
      case ScheduleKind::kDualPipeV:
        EXPECT_EQ(atomic, 6 * microbatches + 2 * (ranks - 1)) << where;
        EXPECT_EQ(early, 6 * microbatches + ranks - 1) << where;
        break;
      case ScheduleKind::kDualPipe:
        EXPECT_EQ(atomic, 3 * microbatches + 2 * (ranks / 2 - 1)) << where;
        EXPECT_EQ(early, 3 * microbatches + ranks / 2 - 1) << where;
        break;
    }
  }
}

}  // namespace
}  // namespace birkhoff
