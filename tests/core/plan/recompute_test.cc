// Which block lengths auto tries, and that no other of them would have been better.
#include "core/plan/recompute.h"

#include <tuple>
#include <vector>

#include "core/plan/compile.h"
#include "core/plan/memory.h"
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

}  // namespace
}  // namespace birkhoff
