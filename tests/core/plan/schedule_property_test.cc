// What holds for the order of every schedule, counted by hand over many small grids.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/plan/schedule.h"
#include "core/plan/timeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ScheduleKind kAll[] = {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV,
                                 ScheduleKind::kDualPipe};

Schedule Make(const SmallJob& job) {
  return *MakeSchedule(job.schedule, job.ranks, job.microbatches);
}

// Micro-batches of a stage on one rank ascend in forwards, input gradients and weight gradients
// alike, so a parameter sees its gradients in one order whatever the schedule.
TEST(EverySchedule, RunsTheMicrobatchesOfAStageInAscendingOrder) {
  for (const SmallJob& job : SmallGrid(6)) {
    const Schedule schedule = Make(job);
    for (const auto& ops : schedule.ranks) {
      std::map<std::pair<int, int>, int> last;  // (stage, pass) -> micro-batch
      for (const ScheduledOp& op : ops) {
        std::vector<int> passes;
        if (op.op == Op::kForward) passes = {0};
        if (op.op == Op::kBackwardInput) passes = {1};
        if (op.op == Op::kBackwardWeight) passes = {2};
        if (op.op == Op::kBackward) passes = {1, 2};
        for (const int pass : passes) {
          const auto [found, first] = last.emplace(std::pair(op.stage, pass), op.microbatch);
          if (first) continue;
          EXPECT_EQ(op.microbatch, found->second + 1);
          found->second = op.microbatch;
        }
      }
    }
  }
}

// Most (stage, micro-batch) pairs of a rank between their forward and their input gradient.
int MostStored(const std::vector<ScheduledOp>& ops) {
  int stored = 0, most = 0;
  for (const ScheduledOp& op : ops) {
    stored += op.op == Op::kForward;
    most = std::max(most, stored);
    stored -= op.op == Op::kBackward || op.op == Op::kBackwardInput;
  }
  EXPECT_EQ(stored, 0);
  return most;
}

// Activations: 1f1b keeps what is ahead of the rank in the pipeline, a V as much on every rank.
TEST(EverySchedule, KeepsAsManyActivationsAsItsDepth) {
  for (const SmallJob& job : SmallGrid(6)) {
    const Schedule schedule = Make(job);
    for (int rank = 0; rank < job.ranks; ++rank) {
      const bool v = job.schedule == ScheduleKind::kDualPipeV;
      const int depth = v ? job.ranks : job.ranks / 2;  // of the rank's V
      const int expected = job.schedule == ScheduleKind::k1F1B
                               ? std::min(job.microbatches, job.ranks - rank)
                               : 2 * depth + 1;
      EXPECT_EQ(MostStored(schedule.ranks[rank]), expected)
          << ScheduleName(job.schedule) << " R=" << job.ranks << " M=" << job.microbatches
          << " rank " << rank;
    }
  }
}

// Weight gradients that wait, and how many wait at once: what `pending` holds.
TEST(EverySchedule, PostponesWeightGradientsInTheOrderInWhichTheyCame) {
  for (const SmallJob& job : SmallGrid(6)) {
    const Schedule schedule = Make(job);
    for (int rank = 0; rank < job.ranks; ++rank) {
      std::vector<std::pair<int, int>> postponed, run;
      for (const ScheduledOp& op : schedule.ranks[rank]) {
        if (op.op == Op::kBackwardInput) postponed.emplace_back(op.stage, op.microbatch);
        if (op.op != Op::kBackwardWeight) continue;
        run.emplace_back(op.stage, op.microbatch);
        EXPECT_LE(run.size(), postponed.size()) << "before its input gradient";
      }
      EXPECT_EQ(run, postponed);
      if (job.schedule == ScheduleKind::k1F1B) {
        EXPECT_TRUE(run.empty());
      }
      // Steps 3, 6 and 7 of docs/plan.md: k, r + 1 and k again.
      if (job.schedule == ScheduleKind::kDualPipeV) {
        EXPECT_EQ(run.size(), 2u * (job.ranks - 1 - rank) + rank + 1);
      }
    }
  }
}

// Marks enclose one forward and one backward of another stage, and nothing else.
TEST(EverySchedule, PairsAForwardWithABackwardOfTheOtherChunk) {
  for (const SmallJob& job : SmallGrid(6)) {
    for (const auto& ops : Make(job).ranks) {
      for (size_t i = 0; i < ops.size(); ++i) {
        if (ops[i].op != Op::kOverlapBegin) continue;
        ASSERT_LT(i + 3, ops.size());
        EXPECT_EQ(ops[i], (ScheduledOp{Op::kOverlapBegin, -1, -1}));
        EXPECT_EQ(ops[i + 1].op, Op::kForward);
        EXPECT_EQ(ops[i + 2].op, Op::kBackward);
        EXPECT_NE(ops[i + 1].stage, ops[i + 2].stage);
        EXPECT_EQ(ops[i + 3], (ScheduledOp{Op::kOverlapEnd, -1, -1}));
      }
    }
  }
}

// dualpipe(R, M) is two dualpipev(R / 2, M / 2): the ranks of one half run direction 0 as chunk A,
// those of the other half direction 1.
TEST(DualPipe, IsTwoMirroredVs) {
  for (const SmallJob& job : SmallGrid(8)) {
    if (job.schedule != ScheduleKind::kDualPipe) continue;
    const Schedule schedule = Make(job);
    const int half = job.microbatches / 2;
    for (int rank = 0; rank < job.ranks; ++rank) {
      const bool mirrored = rank >= job.ranks / 2;
      const int near = mirrored ? job.ranks - 1 - rank : rank;
      std::vector<ScheduledOp> expected;
      for (ScheduledOp op : DualPipeVOps(job.ranks / 2, near, half)) {
        if (op.stage >= 0) {
          const bool z = op.stage == 1;
          op.stage = z ? job.ranks - 1 - near : near;
          op.microbatch += z != mirrored ? half : 0;
        }
        expected.push_back(op);
      }
      EXPECT_EQ(schedule.ranks[rank], expected) << "rank " << rank;
    }
  }
}

TEST(PlaceStages, SaysWhoHoldsWhat) {
  using Holders = std::vector<std::vector<int>>;
  EXPECT_EQ(PlaceStages(ScheduleKind::k1F1B, 3), (Holders{{0}, {1}, {2}}));
  EXPECT_EQ(PlaceStages(ScheduleKind::kDualPipeV, 1), (Holders{{0}, {0}}));
  EXPECT_EQ(PlaceStages(ScheduleKind::kDualPipeV, 3), (Holders{{0}, {1}, {2}, {2}, {1}, {0}}));
  EXPECT_EQ(PlaceStages(ScheduleKind::kDualPipe, 4), (Holders{{0, 3}, {1, 2}, {2, 1}, {3, 0}}));
}

TEST(HolderOf, SendsTheFirstHalfInDirection0) {
  EXPECT_EQ(HolderOf({5}, 7, 8), 5);
  EXPECT_EQ(HolderOf({2, 3}, 0, 2), 2);
  EXPECT_EQ(HolderOf({2, 3}, 1, 2), 3);
  EXPECT_EQ(HolderOf({2, 3}, 3, 8), 2);
  EXPECT_EQ(HolderOf({2, 3}, 4, 8), 3);
}

// ---- Forwards only.

TEST(ForwardSchedule, RunsEveryForwardInTheOrderOfItsSlot) {
  for (const ScheduleKind kind : kAll) {
    for (int ranks = 1; ranks <= 6; ++ranks) {
      for (int microbatches = 0; microbatches <= 9; ++microbatches) {
        const bool x = kind == ScheduleKind::kDualPipe;
        if (x && (ranks % 2 != 0 || microbatches % 2 != 0)) continue;
        const Schedule schedule = MakeForwardSchedule(kind, ranks, microbatches);
        ASSERT_EQ(schedule.NumRanks(), ranks);
        const Timeline timeline = TimeSchedule(schedule, UnitCosts(schedule));
        ASSERT_TRUE(timeline.complete);
        std::set<std::pair<int, int>> all;
        for (int rank = 0; rank < ranks; ++rank) {
          int last = -1;
          for (size_t i = 0; i < schedule.ranks[rank].size(); ++i) {
            const ScheduledOp& op = schedule.ranks[rank][i];
            EXPECT_EQ(op.op, Op::kForward);
            EXPECT_EQ(schedule.RankOf(op.stage, op.microbatch), rank);
            const bool second = x && op.microbatch >= microbatches / 2;
            const int order = op.microbatch - (second ? microbatches / 2 : 0);
            const int slot = 2 * order + op.stage;
            EXPECT_GT(slot, last) << "two forwards in one slot";
            EXPECT_LE(timeline.start[rank][i], slot);
            last = slot;
            EXPECT_TRUE(all.emplace(op.stage, op.microbatch).second);
          }
        }
        EXPECT_EQ(all.size(), static_cast<size_t>(schedule.NumStages()) * microbatches);
      }
    }
  }
}

// ---- Limits.

TEST(CheckScheduleLimits, AcceptsWhatTheTableOfTheDocumentSays) {
  for (const ScheduleKind kind : kAll) {
    for (int ranks = -1; ranks <= 7; ++ranks) {
      for (int microbatches = -1; microbatches <= 17; ++microbatches) {
        bool fits = ranks >= 1 && microbatches >= 1;
        if (kind != ScheduleKind::k1F1B) fits = fits && microbatches >= 2 * ranks;
        if (kind == ScheduleKind::kDualPipe) {
          fits = fits && ranks % 2 == 0 && microbatches % 2 == 0;
        }
        const absl::Status status = CheckScheduleLimits(kind, ranks, microbatches);
        EXPECT_EQ(status.ok(), fits) << ScheduleName(kind) << " " << ranks << " " << microbatches;
        EXPECT_EQ(MakeSchedule(kind, ranks, microbatches).status(), status);
        if (fits) continue;
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
        EXPECT_THAT(std::string(status.message()), HasSubstr("parallelism."));
      }
    }
  }
}

TEST(CheckScheduleLimits, NamesTheFieldTheBoundAndTheRemedy) {
  const auto message = [](ScheduleKind kind, int ranks, int microbatches) {
    return std::string(CheckScheduleLimits(kind, ranks, microbatches).message());
  };
  EXPECT_EQ(message(ScheduleKind::k1F1B, 0, 4),
            "parallelism.pipeline_parallel_degree: 0 is not allowed; need at least 1");
  EXPECT_EQ(message(ScheduleKind::k1F1B, 4, 0),
            "parallelism.schedule: 1f1b with 4 ranks needs at least 1 micro-batches per step and "
            "replica; have 0 (raise training.global_batch_size, lower training.micro_batch_size, "
            "or use 1f1b)");
  EXPECT_EQ(message(ScheduleKind::kDualPipe, 5, 10),
            "parallelism.schedule: dualpipe needs an even number of ranks; have 5 (set "
            "parallelism.pipeline_parallel_degree to 6, or parallelism.schedule to dualpipev)");
  EXPECT_EQ(message(ScheduleKind::kDualPipe, 2, 5),
            "parallelism.schedule: dualpipe needs an even number of micro-batches per step and "
            "replica; have 5 (change training.global_batch_size or training.micro_batch_size)");
}

// ---- By hand: the smallest of each.

std::vector<std::string> Words(const std::vector<ScheduledOp>& ops) {
  std::vector<std::string> words;
  for (const ScheduledOp& op : ops) {
    words.push_back(std::string(OpName(op.op)) + " " + std::to_string(op.stage) + " " +
                    std::to_string(op.microbatch));
  }
  return words;
}

TEST(OneForwardOneBackward, WithFewerMicrobatchesThanRanksRunsAllForwardsFirst) {
  const Schedule schedule = Make({.ranks = 4, .microbatches = 2});
  EXPECT_THAT(Words(schedule.ranks[0]),
              ElementsAre("forward 0 0", "forward 0 1", "backward 0 0", "backward 0 1"));
  EXPECT_THAT(Words(schedule.ranks[2]),
              ElementsAre("forward 2 0", "forward 2 1", "backward 2 0", "backward 2 1"));
  EXPECT_THAT(Words(schedule.ranks[3]),
              ElementsAre("forward 3 0", "backward 3 0", "forward 3 1", "backward 3 1"));
}

TEST(DualPipeV, OnOneRankWithTwoMicrobatches) {
  const Schedule schedule =
      Make({.schedule = ScheduleKind::kDualPipeV, .ranks = 1, .microbatches = 2});
  EXPECT_THAT(Words(schedule.ranks[0]),
              ElementsAre("forward 0 0", "forward 1 0", "forward 0 1", "backward 1 0",
                          "overlap-begin -1 -1", "forward 1 1", "backward 0 0", "overlap-end -1 -1",
                          "backward 1 1", "backward-input 0 1", "backward-weight 0 1"));
}

}  // namespace
}  // namespace birkhoff
