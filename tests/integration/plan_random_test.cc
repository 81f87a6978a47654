// Random plans run to the same losses as one rank without a pipeline, and the same plan twice to
// the same bits.
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"
#include "tests/integration/plan_run.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

constexpr int kSteps = 2;

std::string JobText(const JobSpec& spec) {
  const ParallelismSpec& p = spec.parallelism;
  return "schedule " + std::to_string(static_cast<int>(p.schedule)) + " ranks " +
         std::to_string(p.pipeline_parallel_degree) + " replicas " +
         std::to_string(p.data_parallel_degree) + " recompute " + std::to_string(p.recompute) +
         " micro-batches " + std::to_string(MicrobatchesPerStep(spec)) + " tied " +
         std::to_string(spec.model.tie_embeddings);
}

void ExpectSameTraining(const SmallJob& job, ResidualKind kind) {
  JobSpec spec = SmallSpec(job);
  spec.model.residual.kind = kind;
  spec.model.residual.expand = ExpandKind::kOneHot;
  const auto reference = RunUnpipelined(spec, kSteps);
  ASSERT_TRUE(reference.ok()) << reference.status();
  ASSERT_GT(reference->gradient_norms[0], 1.0e-3);
  const Plan plan = CompileOrDie(spec);
  const auto run = RunPlan(plan, spec, kSteps);
  ASSERT_TRUE(run.ok()) << run.status() << JobText(spec);
  EXPECT_EQ(Difference(*run, *reference), "") << JobText(spec);
}

TEST(RandomPlan, RunsToTheLossesOfOneRank) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  Rng rng(31);
  for (int i = 0; i < 60; ++i) {
    const SmallJob job = RandomJob(rng, 6);
    ExpectSameTraining(job, static_cast<ResidualKind>(rng.Below(3)));
  }
}

TEST(RandomPlan, RunsToTheLossesOfOneRankOnUpToSixteen) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  Rng rng(32);
  for (int i = 0; i < 8; ++i) {
    const SmallJob job = RandomJob(rng, 16);
    ExpectSameTraining(job, static_cast<ResidualKind>(rng.Below(3)));
  }
}

TEST(RandomPlan, RunsOnSixteenRanks) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  for (const ScheduleKind kind :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    ExpectSameTraining({.schedule = kind,
                        .ranks = 16,
                        .microbatches = 32,
                        .layers = 16,
                        .recompute = 1,
                        .tied = true},
                       ResidualKind::kMhc);
  }
}

// The judge itself: a plan that leaves out one weight gradient does not pass as the same training.
TEST(RandomPlan, MissingOneWeightGradientShows) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const JobSpec spec = SmallSpec({});
  const auto reference = RunUnpipelined(spec, kSteps);
  ASSERT_TRUE(reference.ok()) << reference.status();
  Plan plan = CompileOrDie(spec);
  auto& program = plan.ranks[1].train;
  Instruction& weight = program[FindOp(program, Op::kBackwardWeight)];
  weight.op = Op::kOverlapBegin;  // which does nothing
  const auto run = RunPlan(plan, spec, kSteps);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_NE(Difference(*run, *reference), "");
}

// Reading a freed buffer shows too, because it is full of NaN.
TEST(RandomPlan, FreeingTooEarlyShows) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const JobSpec spec = SmallSpec({});
  const auto reference = RunUnpipelined(spec, kSteps);
  ASSERT_TRUE(reference.ok()) << reference.status();
  Plan plan = CompileOrDie(spec);
  auto& program = plan.ranks[1].train;
  const int input = FindOp(program, Op::kBackwardInput);
  ASSERT_EQ(program[input + 1].op, Op::kFree);
  std::swap(program[input], program[input + 1]);
  const auto run = RunPlan(plan, spec, kSteps);
  EXPECT_TRUE(!run.ok() || !Difference(*run, *reference).empty());
}

TEST(RandomPlan, RunsTwiceToTheSameBits) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipe,
                                  .ranks = 4,
                                  .microbatches = 8,
                                  .layers = 4,
                                  .recompute = 2,
                                  .replicas = 2,
                                  .tied = true});
  const Plan plan = CompileOrDie(spec);
  const auto first = RunPlan(plan, spec, kSteps), second = RunPlan(plan, spec, kSteps);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->losses, second->losses);
  EXPECT_EQ(first->gradient_norms, second->gradient_norms);
  EXPECT_EQ(first->evaluation_loss, second->evaluation_loss);
}

}  // namespace
}  // namespace birkhoff
