// Schedules against the worked examples and the idle table of docs/plan.md.
#include "core/plan/schedule.h"

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/plan/grid.h"
#include "core/plan/timeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

Schedule Make(ScheduleKind kind, int ranks, int microbatches) {
  auto schedule = MakeSchedule(kind, ranks, microbatches);
  EXPECT_TRUE(schedule.ok()) << schedule.status();
  return *std::move(schedule);
}

// Where the idle units stand in a row is not part of its order: the examples of docs/plan.md flush
// messages before a weight gradient and so wait one step earlier, for the same makespan.
std::string WithoutIdle(const std::string& grid) {
  std::string order;
  for (const absl::string_view line : absl::StrSplit(grid, '\n', absl::SkipEmpty())) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    std::erase_if(words, [](absl::string_view word) { return word[0] == '.'; });
    absl::StrAppend(&order, absl::StrJoin(words, " "), "\n");
  }
  return order;
}

int64_t AtomicMakespan(const Schedule& schedule) {
  TimelineCosts costs = UnitCosts(schedule);
  costs.atomic = true;
  return TimeSchedule(schedule, costs).makespan;
}

TEST(Schedule, DualPipeVMatchesTheWorkedExample) {
  const Schedule schedule = Make(ScheduleKind::kDualPipeV, 4, 8);
  EXPECT_EQ(AtomicMakespan(schedule), 54);
  EXPECT_EQ(
      WithoutIdle(ScheduleGrid(schedule, /*atomic=*/true)),
      WithoutIdle(
          "r0 f0 f1 f2 f3 f4 f5 f6 F0 I0 W0 F1 I1 W1 F2 I2 . W2 F3 [f7+B3] .. [F4+b0] B4 . "
          "[F5+b1] B5 . [F6+b2] B6 . [F7+b3] B7 i4 w4 i5 w5 i6 w6 i7 w7\n"
          "r1 . f0 f1 f2 f3 f4 F0 f5 F1 I0 W0 F2 I1 . W1 F3 [f6+B2] . [F4+b0] [f7+B3] [F5+b1] "
          "B4 . [F6+b2] B5 . [F7+b3] B6 b4 . I7 i5 W7 i6 w5 i7 w6 w7\n"
          "r2 .. f0 f1 f2 F0 f3 F1 f4 F2 I0 . W0 F3 [f5+B1] [F4+b0] [f6+B2] [F5+b1] [f7+B3] "
          "[F6+b2] B4 . [F7+b3] B5 b4 . B6 i5 . I7 i6 w5 i7 W7 w6 w7\n"
          "r3 ... f0 F0 f1 F1 f2 F2 f3 F3 f4 B0 [F4+b0] [f5+B1] [F5+b1] [f6+B2] [F6+b2] "
          "[f7+B3] [F7+b3] B4 b4 . B5 b5 . I6 i6 . I7 i7 W6 w6 W7 w7\n"));
}

TEST(Schedule, DualPipeMatchesTheWorkedExample) {
  const Schedule schedule = Make(ScheduleKind::kDualPipe, 4, 8);
  EXPECT_EQ(AtomicMakespan(schedule), 26);
  EXPECT_EQ(WithoutIdle(ScheduleGrid(schedule, /*atomic=*/true)),
            WithoutIdle("r0 f0 f1 f2 F0 I0 . W0 F1 [f3+B1] [F2+b0] B2 . [F3+b1] B3 i2 w2 i3 w3\n"
                        "r1 . f0 F0 f1 F1 f2 B0 [F2+b0] [f3+B1] [F3+b1] B2 b2 . I3 i3 W3 w3\n"
                        "r2 . F0 f0 F1 f1 F2 b0 [f2+B0] [F3+b1] [f3+B1] b2 B2 . i3 I3 w3 W3\n"
                        "r3 F0 F1 F2 f0 i0 . w0 f1 [F3+b1] [f2+B0] b2 . [f3+B1] b3 I2 W2 I3 W3\n"));
}

TEST(Schedule, OneForwardOneBackwardRunsAheadByThePositionFromTheEnd) {
  EXPECT_EQ(ScheduleGrid(Make(ScheduleKind::k1F1B, 3, 4), /*atomic=*/true),
            "r0 f0 f1 f2 .... b0 f3 b1 . b2 . b3\n"
            "r1 . f0 f1 .. b0 f2 b1 f3 b2 . b3\n"
            "r2 .. f0 b0 f1 b1 f2 b2 f3 b3\n");
}

struct IdleCase {
  ScheduleKind kind;
  int ranks;
  int microbatches;
  bool atomic;
  double percent;
};

// The table of docs/plan.md, transfer 0: 1f1b with whole backwards, the V and the X both ways.
TEST(Schedule, IdleShareMatchesTheTable) {
  const ScheduleKind f1b1 = ScheduleKind::k1F1B, v = ScheduleKind::kDualPipeV,
                     x = ScheduleKind::kDualPipe;
  const IdleCase cases[] = {
      {f1b1, 2, 8, true, 11.1},  {f1b1, 2, 16, true, 5.9},  {f1b1, 4, 8, true, 27.3},
      {f1b1, 4, 16, true, 15.8}, {f1b1, 8, 32, true, 17.9}, {v, 2, 8, true, 4.0},
      {v, 2, 16, true, 2.0},     {v, 4, 8, true, 11.1},     {v, 4, 16, true, 5.9},
      {v, 8, 32, true, 6.8},     {v, 2, 8, false, 2.0},     {v, 2, 16, false, 1.0},
      {v, 4, 8, false, 5.9},     {v, 4, 16, false, 3.0},    {v, 8, 32, false, 3.5},
      {x, 2, 8, true, 0.0},      {x, 4, 8, true, 7.7},      {x, 4, 16, true, 4.0},
      {x, 8, 32, true, 5.9},     {x, 2, 8, false, 0.0},     {x, 4, 8, false, 4.0},
      {x, 4, 16, false, 2.0},    {x, 8, 32, false, 3.0}};
  for (const IdleCase& c : cases) {
    const Schedule schedule = Make(c.kind, c.ranks, c.microbatches);
    TimelineCosts costs = UnitCosts(schedule);
    costs.atomic = c.atomic;
    const Timeline timeline = TimeSchedule(schedule, costs);
    ASSERT_TRUE(timeline.complete);
    EXPECT_NEAR(100.0 * timeline.idle_share, c.percent, 0.2)
        << ScheduleName(c.kind) << " R=" << c.ranks << " M=" << c.microbatches
        << " atomic=" << c.atomic;
  }
}

// The same table's columns with a transfer of 0.1 and 0.3 forwards of half a rank's share, for early
// sends: a stage of the V is such a half, a stage of the X is two.
TEST(Schedule, WireTimeCostsWhatTheTableSays) {
  const ScheduleKind v = ScheduleKind::kDualPipeV, x = ScheduleKind::kDualPipe;
  const struct {
    ScheduleKind kind;
    int ranks, microbatches;
    double tenth, three_tenths;  // percent
  } cases[] = {{v, 2, 8, 2.4, 3.2},  {v, 2, 16, 1.2, 1.6}, {v, 4, 8, 7.0, 10.4},
               {v, 4, 16, 3.6, 5.5}, {v, 8, 32, 4.6, 7.5}, {x, 2, 8, 0.2, 0.6},
               {x, 4, 8, 5.0, 6.8},  {x, 4, 16, 2.5, 3.5}, {x, 8, 32, 3.6, 4.8}};
  for (const auto& c : cases) {
    const Schedule schedule = Make(c.kind, c.ranks, c.microbatches);
    TimelineCosts costs = UnitCosts(schedule);
    for (auto* of_stages : {&costs.forward, &costs.backward_input, &costs.backward_weight}) {
      for (int64_t& cost : *of_stages) cost = c.kind == v ? 10 : 20;
    }
    costs.transfer = 1;
    EXPECT_NEAR(100.0 * TimeSchedule(schedule, costs).idle_share, c.tenth, 0.2)
        << ScheduleName(c.kind) << " R=" << c.ranks << " M=" << c.microbatches;
    costs.transfer = 3;
    EXPECT_NEAR(100.0 * TimeSchedule(schedule, costs).idle_share, c.three_tenths, 0.2)
        << ScheduleName(c.kind) << " R=" << c.ranks << " M=" << c.microbatches;
  }
}

// Counts what every (stage, micro-batch) gets, on the rank that must give it.
void ExpectEverythingOnce(const Schedule& schedule) {
  std::map<std::tuple<int, int, int>, int> seen;  // (stage, micro-batch, half) -> times
  for (int rank = 0; rank < schedule.NumRanks(); ++rank) {
    for (const ScheduledOp& op : schedule.ranks[rank]) {
      if (op.stage < 0) continue;
      EXPECT_EQ(schedule.RankOf(op.stage, op.microbatch), rank);
      const bool input = op.op == Op::kBackward || op.op == Op::kBackwardInput;
      const bool weight = op.op == Op::kBackward || op.op == Op::kBackwardWeight;
      if (op.op == Op::kForward) ++seen[{op.stage, op.microbatch, 0}];
      if (input) ++seen[{op.stage, op.microbatch, 1}];
      if (weight) ++seen[{op.stage, op.microbatch, 2}];
    }
  }
  EXPECT_EQ(seen.size(), 3u * schedule.NumStages() * schedule.num_microbatches);
  for (const auto& [key, times] : seen) EXPECT_EQ(times, 1);
}

TEST(Schedule, EveryScheduleRunsEverythingOnceAndCompletes) {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    for (const int microbatches : {2 * ranks, 2 * ranks + 2, 5 * ranks + ranks % 2}) {
      for (const ScheduleKind kind :
           {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
        const bool in_pairs = kind == ScheduleKind::kDualPipe;
        if (in_pairs && (ranks % 2 != 0 || microbatches % 2 != 0)) continue;
        const Schedule schedule = Make(kind, ranks, microbatches);
        ExpectEverythingOnce(schedule);
        EXPECT_TRUE(TimeSchedule(schedule, UnitCosts(schedule)).complete);
      }
    }
  }
}

TEST(Schedule, DualPipeVOverlapsAsManyPairsAsTheFormula) {
  const int ranks = 4, microbatches = 16;
  const Schedule schedule = Make(ScheduleKind::kDualPipeV, ranks, microbatches);
  for (int rank = 0; rank < ranks; ++rank) {
    int pairs = 0;
    for (const ScheduledOp& op : schedule.ranks[rank]) pairs += op.op == Op::kOverlapBegin;
    EXPECT_EQ(pairs, 2 * microbatches - 3 * ranks + rank + 1 - (rank == ranks - 1));
  }
}

TEST(Schedule, ForwardScheduleLosesNoSlotAfterTheStart) {
  for (const ScheduleKind kind :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    const Schedule schedule = MakeForwardSchedule(kind, 4, 10);
    const Timeline timeline = TimeSchedule(schedule, UnitCosts(schedule));
    ASSERT_TRUE(timeline.complete);
    const int64_t work = kind == ScheduleKind::kDualPipeV ? 20 : 10;  // per rank
    const int64_t depth = kind == ScheduleKind::kDualPipeV ? 7 : 3;
    EXPECT_LE(timeline.makespan, work + depth) << ScheduleName(kind);
  }
}

TEST(Schedule, ForwardScheduleRunsAnyNumberOfMicrobatches) {
  for (int microbatches = 1; microbatches < 9; ++microbatches) {
    const Schedule schedule = MakeForwardSchedule(ScheduleKind::kDualPipeV, 3, microbatches);
    const Timeline timeline = TimeSchedule(schedule, UnitCosts(schedule));
    EXPECT_TRUE(timeline.complete);
  }
}

TEST(Schedule, RefusesAnOddDualPipeWithTheRemedy) {
  const auto schedule = MakeSchedule(ScheduleKind::kDualPipe, 3, 12);
  ASSERT_EQ(schedule.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(schedule.status().message()),
              HasSubstr("dualpipe needs an even number of ranks; have 3"));
  EXPECT_THAT(std::string(schedule.status().message()),
              HasSubstr("set parallelism.pipeline_parallel_degree to 4"));
}

TEST(Schedule, RefusesTooFewMicrobatchesWithTheNumberNeeded) {
  const auto schedule = MakeSchedule(ScheduleKind::kDualPipeV, 4, 7);
  EXPECT_THAT(std::string(schedule.status().message()),
              HasSubstr("needs at least 8 micro-batches per step and replica; have 7"));
}

TEST(Schedule, RefusesAnOddNumberOfDualPipeMicrobatches) {
  const auto schedule = MakeSchedule(ScheduleKind::kDualPipe, 2, 5);
  EXPECT_THAT(std::string(schedule.status().message()),
              HasSubstr("even number of micro-batches per step and replica; have 5"));
}

TEST(Schedule, RefusesNoRanks) { EXPECT_FALSE(MakeSchedule(ScheduleKind::k1F1B, 0, 5).ok()); }

}  // namespace
}  // namespace birkhoff
