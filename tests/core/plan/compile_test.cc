// Compiled plans: they pass the checker, say what was asked, and come fast.
#include "core/plan/compile.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/describe.h"
#include "core/plan/memory.h"
#include "core/plan/operands.h"
#include "core/plan/schedule.h"
#include "core/plan/simulate.h"
#include "core/plan/text.h"
#include "core/plan/timeline.h"
#include "core/spec/resolve.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(CompilePlan, RandomPlansPassTheChecker) {
  Rng rng(1);
  for (int i = 0; i < 150; ++i) {
    const SmallJob job = RandomJob(rng, 16);
    const JobSpec spec = SmallSpec(job);
    const auto plan = CompilePlan(spec, {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    const absl::Status status = CheckPlan(*plan, spec);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_GT(plan->predicted_step_ns, 0);
    EXPECT_GE(plan->predicted_idle_share, 0.0);
    EXPECT_LT(plan->predicted_idle_share, 1.0);
  }
}

TEST(CompilePlan, OneForwardOneBackwardRunsAnyNumberOfMicrobatches) {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (int microbatches = 1; microbatches <= 7; ++microbatches) {
      const auto plan =
          CompilePlan(SmallSpec({.ranks = ranks, .microbatches = microbatches, .layers = 3}), {});
      EXPECT_TRUE(plan.ok()) << plan.status();
    }
  }
}

// Whatever the rates, the programs are right: order does not depend on time.
TEST(CompilePlan, AnyClusterGivesAPlanThatPasses) {
  Rng rng(2);
  for (int i = 0; i < 30; ++i) {
    const JobSpec spec = SmallSpec(RandomJob(rng, 8));
    const ClusterSpec cluster{.workers = {},
                              .flops_per_second = 1.0e6 * (1.0 + 1.0e6 * rng.Uniform()),
                              .link_bytes_per_second = 1.0e6 * (1.0 + 1.0e6 * rng.Uniform()),
                              .link_latency_seconds = rng.Uniform()};
    EXPECT_TRUE(CompilePlan(spec, cluster).ok());
  }
}

TEST(CompilePlan, SameInputGivesTheSameBytes) {
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipeV, .recompute = 1});
  EXPECT_EQ(PlanToText(CompileOrDie(spec)), PlanToText(CompileOrDie(spec)));
}

// Several ops of a kind in one program.
int Count(const std::vector<Instruction>& program, Op op) {
  return static_cast<int>(std::count_if(program.begin(), program.end(),
                                        [op](const Instruction& i) { return i.op == op; }));
}

TEST(CompilePlan, OneForwardOneBackwardSendsTheGradientBeforeTheWeightGradient) {
  const Plan plan = CompileOrDie(SmallSpec({}));
  const auto& program = plan.ranks[1].train;
  const int input = FindOp(program, Op::kBackwardInput);
  EXPECT_EQ(program[FindOp(program, Op::kSendGradient)].waits.back(), input);
  EXPECT_LT(FindOp(program, Op::kSendGradient), FindOp(program, Op::kBackwardWeight));
  EXPECT_EQ(Count(plan.ranks[0].train, Op::kBackwardWeight), 0);  // nobody waits for its gradient
}

TEST(CompilePlan, AVOnOneRankHandsOverLocally) {
  const Plan plan = CompileOrDie(
      SmallSpec({.schedule = ScheduleKind::kDualPipeV, .ranks = 1, .microbatches = 3}));
  EXPECT_TRUE(plan.channels.empty());
  EXPECT_EQ(plan.NumStages(), 2);
  EXPECT_EQ(Count(plan.ranks[0].train, Op::kHandOffActivation), 3);
  EXPECT_EQ(Count(plan.ranks[0].train, Op::kHandOffGradient), 3);
}

TEST(CompilePlan, TiedEmbeddingsAreOneParameterOfTwoRanks) {
  const Plan plan = CompileOrDie(SmallSpec({.tied = true}));
  EXPECT_EQ(plan.parameters[0].spec.name, "embedding.weight");
  EXPECT_THAT(plan.parameters[0].stages, ElementsAre(0, 1));
  EXPECT_THAT(plan.parameters[0].ranks, ElementsAre(0, 1));
  EXPECT_THAT(plan.buckets[plan.parameters[0].bucket].parameters, ElementsAre(0));
  for (const RankPlan& rank : plan.ranks) {
    EXPECT_EQ(Count(rank.train, Op::kExchangeCopies), 1);
    EXPECT_EQ(Count(rank.train, Op::kReduceGradient), 0);
  }
}

TEST(CompilePlan, TiedEmbeddingsOfAVStayOnOneRank) {
  const Plan plan = CompileOrDie(SmallSpec({.schedule = ScheduleKind::kDualPipeV, .tied = true}));
  EXPECT_THAT(plan.parameters[0].stages, ElementsAre(0, 3));
  EXPECT_THAT(plan.parameters[0].ranks, ElementsAre(0));
  EXPECT_EQ(Count(plan.ranks[0].train, Op::kExchangeCopies), 0);
}

TEST(CompilePlan, DualPipeExchangesEveryStageWithItsCopy) {
  const Plan plan = CompileOrDie(SmallSpec({.schedule = ScheduleKind::kDualPipe, .replicas = 2}));
  for (const RankPlan& rank : plan.ranks) {
    EXPECT_EQ(Count(rank.train, Op::kExchangeCopies), 2);
    EXPECT_EQ(Count(rank.train, Op::kReduceGradient), 2);
  }
  EXPECT_EQ(plan.RankOf(0, 0, 4), 0);
  EXPECT_EQ(plan.RankOf(0, 3, 4), 1);
}

TEST(CompilePlan, EvaluatesWithForwardsOnly) {
  JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipe});
  spec.training.validation_batches = 3;
  const Plan plan = CompileOrDie(spec);
  EXPECT_EQ(plan.num_evaluation_microbatches, 4);  // in pairs
  for (const RankPlan& rank : plan.ranks) {
    EXPECT_EQ(Count(rank.evaluate, Op::kForward), 4);
    EXPECT_EQ(rank.evaluate.back().op, Op::kAgree);
  }
  spec.training.validation_interval = 0;
  const Plan without = CompileOrDie(spec);
  EXPECT_EQ(without.num_evaluation_microbatches, 0);
  EXPECT_TRUE(without.ranks[0].evaluate.empty());
}

// ---- Recompute.

TEST(CompilePlan, RecomputesBlockByBlockFromTheTop) {
  const Plan plan =
      CompileOrDie(SmallSpec({.ranks = 1, .microbatches = 1, .layers = 2, .recompute = 3}));
  std::vector<std::string> steps;
  for (const Instruction& i : plan.ranks[0].train) {
    if (!IsCompute(i.op)) continue;
    steps.push_back(std::string(OpName(i.op)) + " " + std::to_string(i.segment.units.first) + ":" +
                    std::to_string(i.segment.units.last));
  }
  EXPECT_THAT(steps, ElementsAre("forward 0:6", "recompute 4:5", "backward 4:6", "recompute 1:4",
                                 "backward 0:4"));
}

TEST(CompilePlan, TheFirstRecomputeDoesNotWaitForTheGradient) {
  const Plan plan = CompileOrDie(SmallSpec({.layers = 4, .recompute = 2}));
  const auto& program = plan.ranks[0].train;
  const int receive = FindOp(program, Op::kReceiveGradient);
  const int recompute = FindOp(program, Op::kRecompute);
  const int backward = FindOp(program, Op::kBackward);
  EXPECT_LT(recompute, backward);
  EXPECT_THAT(program[recompute].waits, ::testing::Not(::testing::Contains(receive)));
  EXPECT_THAT(program[backward].waits, ::testing::Contains(receive));
}

TEST(CompilePlan, RecomputesOnItsOwnOnlyWhereMemoryIsShort) {
  JobSpec spec = SmallSpec({.layers = 8, .recompute = ParallelismSpec::kRecomputeAuto});
  spec.training.sequence_length = 64;
  const Plan roomy = CompileOrDie(spec);
  EXPECT_EQ(roomy.recompute_block, 0);
  ClusterSpec cluster;
  const int64_t needed = WorkerBytes(roomy, roomy.ranks[0]);
  cluster.workers.emplace_back().memory_bytes = needed - 1;
  const auto tight = CompilePlan(spec, cluster);
  ASSERT_TRUE(tight.ok()) << tight.status();
  // sqrt(nL / (n + 2)) with n = 2 and 2 x 8 or 9 sub-layers in flight is 3; its neighbour 4 divides
  // the stages, takes no longer and less memory.
  EXPECT_EQ(tight->recompute_block, 4);
  EXPECT_LT(BytesOf(tight->ranks[0], "buffers"), BytesOf(roomy.ranks[0], "buffers"));
  cluster.workers[0].memory_bytes = 1000;
  const auto hopeless = CompilePlan(spec, cluster);
  EXPECT_EQ(hopeless.status().code(), absl::StatusCode::kFailedPrecondition)
      << "other workers might do";
  EXPECT_THAT(std::string(hopeless.status().message()),
              AllOf(HasSubstr("the smallest has 1000"), HasSubstr("training.micro_batch_size")));
}

// A rank alone waits for nobody: its step is the sum of what was measured.
TEST(CompilePlan, PredictsTheSumOfWhatWasMeasured) {
  const JobSpec spec = SmallSpec({.ranks = 1, .microbatches = 3, .layers = 4});
  ClusterSpec cluster;
  cluster.card.emplace().by_shape[ShapeKey(spec, {})] = {.first = {1000, 2000, 3000, 0},
                                                         .attention = {10000, 20000, 30000, 0},
                                                         .feed_forward = {40000, 50000, 60000, 0},
                                                         .head = {70000, 80000, 0, 0},
                                                         .norm_ns = 1.0,
                                                         .update_ns = 2.0};
  const auto plan = CompilePlan(spec, cluster);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const int64_t elements = HoldingsByRank(*plan)[0].masters;
  const int64_t measured = 3 * (6000 + 3 * 60000 + 4 * 150000 + 150000) + 3 * elements;
  EXPECT_GE(plan->predicted_step_ns, measured);
  EXPECT_LE(plan->predicted_step_ns, measured + 50) << "the tokens' way to the device";
}

// ---- What cannot be planned.

TEST(CompilePlan, RefusesWithTheRemedy) {
  const struct {
    SmallJob job;
    const char* message;
  } cases[] = {
      {{.schedule = ScheduleKind::kDualPipe, .ranks = 3, .microbatches = 6},
       "dualpipe needs an even number of ranks; have 3"},
      {{.schedule = ScheduleKind::kDualPipeV, .ranks = 2, .microbatches = 3},
       "needs at least 4 micro-batches"},
      {{.schedule = ScheduleKind::kDualPipeV, .ranks = 4, .microbatches = 8, .layers = 2},
       "has 8 stages, but the model has only 6 units"},
  };
  for (const auto& c : cases) {
    const auto plan = CompilePlan(SmallSpec(c.job), {});
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(c.message));
  }
  JobSpec spec = SmallSpec({});
  spec.model.vocab_size = 0;
  EXPECT_THAT(std::string(CompilePlan(spec, {}).status().message()), HasSubstr("model.vocab_size"));
}

// What a spec and its workers cannot have together is INVALID_ARGUMENT, and names what is at odds.
TEST(CompilePlan, RefusesWorkersThatTheSpecCannotUse) {
  const auto message = [](DeviceKind device, PrecisionKind precision,
                          const std::vector<const char*>& workers) {
    JobSpec spec = SmallSpec({});
    spec.device = device;
    spec.training.precision = precision;
    ClusterSpec cluster;
    for (const char* worker : workers) {
      cluster.workers.push_back({.name = std::string("workers/") + worker, .device = worker});
    }
    const absl::Status status = CompilePlan(spec, cluster).status();
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  const auto any = DeviceKind::kAuto;
  EXPECT_THAT(message(any, PrecisionKind::kAuto, {"cpu", "cuda"}), HasSubstr("workers/"));
  EXPECT_THAT(message(DeviceKind::kCuda, PrecisionKind::kAuto, {"cpu"}), HasSubstr("workers/cpu"));
  EXPECT_THAT(message(any, PrecisionKind::kBf16, {"cpu"}), HasSubstr("bf16"));
  EXPECT_EQ(message(any, PrecisionKind::kBf16, {"cuda", "cuda"}), "");
  EXPECT_EQ(message(any, PrecisionKind::kFp32, {"cuda"}), "");
  EXPECT_EQ(message(any, PrecisionKind::kAuto, {}), "");
}

// The three largest items of the fullest rank, largest first; and recompute is only a remedy where
// there is none.
TEST(CompilePlan, NamesTheLargestItemsWhereMemoryIsShort) {
  for (const int recompute : {0, 1}) {
    const JobSpec spec = SmallSpec({.layers = 4, .recompute = recompute});
    const Plan plan = CompileOrDie(spec);
    const RankPlan* fullest = &plan.ranks[0];
    for (const RankPlan& rank : plan.ranks) {
      if (WorkerBytes(plan, rank) > WorkerBytes(plan, *fullest)) fullest = &rank;
    }
    std::vector<std::pair<int64_t, std::string>> items;
    for (const MemoryItem& item : fullest->memory) items.push_back({-item.bytes, item.name});
    std::stable_sort(items.begin(), items.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string expected = "memory: the fullest worker would need " +
                           std::to_string(WorkerBytes(plan, *fullest)) + " bytes (";
    for (int i = 0; i < 3; ++i) {
      expected += (i == 0 ? "" : ", ") + items[i].second + " " + std::to_string(-items[i].first);
    }
    expected +=
        "); the smallest has 77 (lower training.micro_batch_size or training.sequence_length, "
        "raise "
        "parallelism.pipeline_parallel_degree";
    expected += recompute == 0 ? ", or set parallelism.recompute to auto)" : ")";
    ClusterSpec cluster;
    cluster.workers.resize(3);
    cluster.workers[0].memory_bytes = 1 << 30;
    cluster.workers[1].memory_bytes = 77;  // the third does not say
    const absl::Status status = CompilePlan(spec, cluster).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(status.message(), expected);
  }
}

// ---- Simulation.

// Idle percent with every step alike (1000 ns for f, i and w) and messages of `transfer` ns.
double IdleOfEqualSteps(ScheduleKind kind, int ranks, int microbatches, int64_t transfer = 0) {
  Plan plan = CompileOrDie(
      SmallSpec({.schedule = kind, .ranks = ranks, .microbatches = microbatches, .layers = ranks}));
  for (RankPlan& rank : plan.ranks) {
    for (Instruction& i : rank.train) {
      i.estimated_ns = IsSend(i.op) || IsReceive(i.op) ? transfer : 0;
      if (IsCompute(i.op)) i.estimated_ns = i.op == Op::kBackward ? 2000 : 1000;
    }
  }
  const auto simulation = SimulateTrain(plan);
  EXPECT_TRUE(simulation.ok());
  return 100.0 * simulation->idle_share;
}

TEST(SimulateTrain, ReachesTheEarlySendBubbleOfTheTable) {
  const ScheduleKind v = ScheduleKind::kDualPipeV, x = ScheduleKind::kDualPipe;
  EXPECT_NEAR(IdleOfEqualSteps(v, 2, 8), 2.0, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(v, 2, 16), 1.0, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(v, 4, 8), 5.9, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(v, 4, 16), 3.0, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(v, 8, 32), 3.5, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(x, 4, 8), 4.0, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(x, 4, 16), 2.0, 0.2);
  EXPECT_NEAR(IdleOfEqualSteps(x, 8, 32), 3.0, 0.2);
}

// Two slots per link are as good as any number: the plan loses nothing against its schedule.
TEST(SimulateTrain, FiniteBuffersCostNothing) {
  for (const ScheduleKind kind :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    for (const int64_t transfer : {100, 300}) {
      const auto schedule = MakeSchedule(kind, 4, 16);
      TimelineCosts costs = UnitCosts(*schedule);
      for (auto* of_stages : {&costs.forward, &costs.backward_input, &costs.backward_weight}) {
        for (int64_t& cost : *of_stages) cost = 1000;
      }
      costs.transfer = transfer;
      EXPECT_NEAR(IdleOfEqualSteps(kind, 4, 16, transfer),
                  100.0 * TimeSchedule(*schedule, costs).idle_share, 0.01)
          << ScheduleName(kind) << " transfer " << transfer;
    }
  }
}

// 1f1b with early gradients idles 2 (R - 1) units; with whole backwards it would be 3 (R - 1).
TEST(SimulateTrain, OneForwardOneBackwardGainsByItsEarlyGradients) {
  EXPECT_NEAR(IdleOfEqualSteps(ScheduleKind::k1F1B, 4, 16), 100.0 * 6.0 / (48.0 + 6.0), 0.01);
}

TEST(SimulateTrain, SaysThatAProgramHangs) {
  Plan plan = CompileOrDie(SmallSpec({}));
  auto& program = plan.ranks[1].train;
  program.erase(program.begin() + FindOp(program, Op::kReceiveActivation), program.end());
  EXPECT_EQ(SimulateTrain(plan).status().code(), absl::StatusCode::kFailedPrecondition);
}

// ---- For people.

TEST(DescribePlan, ShowsPartitionMemoryAndGrid) {
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipeV});
  const std::string text = DescribePlan(CompileOrDie(spec), spec);
  EXPECT_THAT(text, AllOf(HasSubstr("dualpipev on 2 ranks x 1 replica, 4 micro-batches of 4"),
                          HasSubstr("sub-layers 1-2"), HasSubstr("sub-layer 3, head"),
                          HasSubstr("predicted step time"), HasSubstr("memory of each worker"),
                          HasSubstr("r0 f0 f1 f2 F0"), HasSubstr("overlapped pair")));
}

}  // namespace
}  // namespace birkhoff
