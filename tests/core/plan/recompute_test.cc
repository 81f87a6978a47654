// Which block lengths auto tries, and that no other of them would have been better.
#include "core/plan/recompute.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "core/plan/compile.h"
#include "core/plan/memory.h"
#include "core/plan/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

JobSpec Deep(int layers, int recompute = ParallelismSpec::kRecomputeAuto) {
  JobSpec spec = SmallSpec({.ranks = 1, .microbatches = 1, .layers = layers});
  spec.parallelism.recompute = recompute;
  return spec;
}

std::vector<int> BlocksOf(const JobSpec& spec) {
  return RecomputeBlocksToTry(spec, CompileOrDie(spec));
}

// n = 2: sqrt(L / 2) of the L = 2 x layers sub-layers, one micro-batch in flight.
TEST(RecomputeBlocks, AreTheEstimateAndItsNeighbours) {
  EXPECT_THAT(BlocksOf(Deep(36)), ElementsAre(6, 5, 7, 4, 8, 3, 9, 2, 10));
  EXPECT_THAT(BlocksOf(Deep(4)), ElementsAre(2, 1, 3, 4, 5, 6));
  EXPECT_THAT(BlocksOf(Deep(1)), ElementsAre(1, 2));  // no stage has more sub-layers
}

TEST(RecomputeBlocks, AreFewerWherePlansAreLarge) {
  JobSpec large = Deep(2047);
  large.training.global_batch_size = 800;
  EXPECT_THAT(BlocksOf(large), ElementsAre(45));
  large.training.global_batch_size = 250;
  EXPECT_THAT(BlocksOf(large), ElementsAre(45, 44, 46));
}

int64_t BytesOfPlan(const Plan& plan) { return WorkerBytes(plan, plan.ranks[0]); }

Plan WithBlock(const JobSpec& spec, int block) {
  JobSpec fixed = spec;
  fixed.parallelism.recompute = block;
  return CompileOrDie(fixed);
}

// Every limit that some block length just meets: auto finds a plan wherever one of those that it
// tries fits, and none of those is faster, or as fast and smaller.
TEST(RecomputeBlocks, AutoTakesTheBestThatFits) {
  JobSpec spec = Deep(12);
  spec.training.sequence_length = 64;
  const Plan stored = CompileOrDie(spec);
  const std::vector<int> blocks = RecomputeBlocksToTry(spec, stored);
  for (const int tight : blocks) {
    ClusterSpec cluster;
    const int64_t limit = BytesOfPlan(WithBlock(spec, tight));
    ASSERT_LT(limit, BytesOfPlan(stored));
    cluster.workers.emplace_back().memory_bytes = limit;
    const auto plan = CompilePlan(spec, cluster);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_LE(BytesOfPlan(*plan), limit);
    for (const int block : blocks) {
      const Plan other = WithBlock(spec, block);
      if (BytesOfPlan(other) > limit) continue;
      EXPECT_GE(std::tuple(other.predicted_step_ns, BytesOfPlan(other)),
                std::tuple(plan->predicted_step_ns, BytesOfPlan(*plan)))
          << "limit " << limit << ": " << block << " against " << plan->recompute_block;
    }
  }
}

// The estimate counted anew: sub-layers of the stages, times the micro-batches that the schedule
// keeps of each; and the neighbours, nearest first, the shorter one before the longer.
TEST(RecomputeBlocks, FollowFromWhatTheScheduleKeeps) {
  for (SmallJob job : SmallGrid(4)) {
    for (const int layers : {2, 5, 9}) {
      job.layers = job.ranks + layers;
      const JobSpec spec = SmallSpec(job);
      const Plan plan = CompileOrDie(spec);
      const Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
      int fullest = 0, longest = 0;
      for (int rank = 0; rank < job.ranks; ++rank) {
        int here = 0;
        for (const int stage : plan.ranks[rank].stages) {
          int sublayers = 0;
          for (int u = plan.stages[stage].units.first; u < plan.stages[stage].units.last; ++u) {
            sublayers += u > 0 && u <= 2 * job.layers;
          }
          longest = std::max(longest, sublayers);
          const int most = MostLive(schedule, rank, stage);
          here += most * sublayers;
        }
        fullest = std::max(fullest, here);
      }
      // n = 2 streams: sqrt(nL / (n + 2)).
      const int estimate = std::max(1, static_cast<int>(std::lround(std::sqrt(fullest / 2.0))));
      std::vector<int> expected = {estimate};
      for (int distance = 1; distance <= 4; ++distance) {
        for (const int block : {estimate - distance, estimate + distance}) {
          if (block >= 1 && block <= longest) expected.push_back(block);
        }
      }
      EXPECT_EQ(RecomputeBlocksToTry(spec, plan), expected)
          << ScheduleName(job.schedule) << " R=" << job.ranks << " M=" << job.microbatches;
    }
  }
}

// The same with every schedule on some ranks and random limits: none of the lengths that are tried
// would have been better, and where auto finds nothing none of them fits.
TEST(RecomputeBlocks, AutoMissesNoPlanOnSeveralRanks) {
  Rng rng(61);
  int planned = 0, refused = 0;
  for (const ScheduleKind kind :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    JobSpec spec = SmallSpec({.schedule = kind, .microbatches = 4, .layers = 7});
    spec.training.sequence_length = 48;
    const Plan stored = CompileOrDie(spec);
    const auto fullest = [](const Plan& plan) {
      int64_t bytes = 0;
      for (const RankPlan& rank : plan.ranks) bytes = std::max(bytes, WorkerBytes(plan, rank));
      return bytes;
    };
    std::vector<Plan> others;
    for (const int block : RecomputeBlocksToTry(spec, stored)) {
      others.push_back(WithBlock(spec, block));
    }
    int64_t least = fullest(stored);
    for (const Plan& other : others) least = std::min(least, fullest(other));
    spec.parallelism.recompute = ParallelismSpec::kRecomputeAuto;
    for (int i = 0; i < 24; ++i) {
      const int64_t span = fullest(stored) - least;
      const int64_t limit = least - span / 4 + static_cast<int64_t>(rng.Below(span * 3 / 2));
      ClusterSpec cluster;
      cluster.workers.resize(2);
      cluster.workers[0].memory_bytes = 10 * limit;
      cluster.workers[1].memory_bytes = limit;  // the smallest counts
      const auto plan = CompilePlan(spec, cluster);
      ++(plan.ok() ? planned : refused);
      EXPECT_EQ(plan.ok(), limit >= least) << plan.status();
      if (!plan.ok()) {
        // Of those that do not fit the smallest is spoken of.
        EXPECT_THAT(std::string(plan.status().message()),
                    ::testing::HasSubstr("would need " + std::to_string(least) + " bytes"));
        continue;
      }
      EXPECT_LE(fullest(*plan), limit);
      if (fullest(stored) <= limit) {
        EXPECT_EQ(plan->recompute_block, 0) << "it fits as it is";
        continue;
      }
      for (const Plan& other : others) {
        if (fullest(other) > limit) continue;
        EXPECT_GE(std::tuple(other.predicted_step_ns, fullest(other)),
                  std::tuple(plan->predicted_step_ns, fullest(*plan)));
      }
    }
  }
  EXPECT_GT(planned, 5);
  EXPECT_GT(refused, 2);
}

}  // namespace
}  // namespace birkhoff
