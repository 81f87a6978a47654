// Plans run with numbers in random orders: whatever streams, waits and messages allow gives the sums
// of a serial step.  The checker says the same without running anything; here neither is believed.
#include <cstdio>
#include <string>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/tables.h"
#include "core/plan/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_edits.h"
#include "tests/core/plan/plan_runner.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

// A plan with what its serial steps give.
struct Subject {
  explicit Subject(const JobSpec& job)
      : spec(job),
        plan(CompileOrDie(job)),
        layouts(MakeLayouts(job, plan)),
        train(SerialStep(plan, layouts, plan.num_microbatches, /*evaluates=*/false)),
        evaluate(SerialStep(plan, layouts, plan.num_evaluation_microbatches, /*evaluates=*/true)) {}

  // The first fault in so many orders of both programs, with both transports in turn.
  std::string Run(const Plan& edited, int orders, Rng& rng) const {
    for (int i = 0; i < orders; ++i) {
      const Transport transport = i % 2 == 0 ? Transport::kRendezvous : Transport::kSlots;
      std::string fault = RunInAnyOrder(edited, &RankPlan::train, transport, train, rng);
      if (!fault.empty()) return "train: " + fault;
      if (edited.num_evaluation_microbatches == 0) continue;
      fault = RunInAnyOrder(edited, &RankPlan::evaluate, transport, evaluate, rng);
      if (!fault.empty()) return "evaluate: " + fault;
    }
    return "";
  }

  JobSpec spec;
  Plan plan;
  std::vector<StageLayout> layouts;
  StepResult train, evaluate;
};

TEST(AnyOrder, OfACompiledPlanGivesTheSerialStep) {
  Rng rng(31);
  for (int i = 0; i < 40; ++i) {
    const Subject subject(SmallSpec(RandomJob(rng, 6)));
    EXPECT_EQ(subject.Run(subject.plan, 4, rng), "") << PlanGrid(subject.plan);
  }
}

// The smallest plans there are, and those with a stage for every unit.
TEST(AnyOrder, OfThePlansAtTheEdges) {
  Rng rng(32);
  for (const ScheduleKind kind :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    const int per_rank = kind == ScheduleKind::kDualPipeV ? 2 : 1;
    for (const int ranks : {1, 2, 3, 4, 6}) {
      if (kind == ScheduleKind::kDualPipe && ranks % 2 != 0) continue;
      const int fewest = kind == ScheduleKind::k1F1B ? 1 : 2 * ranks;
      // As many units as stages, rounded up to whole layers.
      const int layers = std::max(1, (ranks * per_rank - 1) / 2);
      for (const int recompute : {0, 1}) {
        const Subject subject(SmallSpec({.schedule = kind,
                                         .ranks = ranks,
                                         .microbatches = fewest,
                                         .layers = layers,
                                         .recompute = recompute,
                                         .tied = true}));
        EXPECT_EQ(subject.Run(subject.plan, 6, rng), "") << PlanGrid(subject.plan);
      }
    }
  }
}

TEST(AnyOrder, OfAnEditThatTheCheckerAccepts) {
  Rng rng(33);
  int accepted = 0;
  for (int job = 0; job < 30; ++job) {
    const Subject subject(SmallSpec(RandomJob(rng, 4)));
    const std::string text = PlanToText(subject.plan);
    for (int i = 0; i < 40; ++i) {
      Plan edited = subject.plan;
      const std::string what = EditPlan(edited, rng);
      if (!CheckPlan(edited, subject.spec).ok() || PlanToText(edited) == text) continue;
      ++accepted;
      EXPECT_EQ(subject.Run(edited, 4, rng), "") << what;
    }
  }
  EXPECT_GT(accepted, 50);
}

// The other way round: what the checker refuses for a missing wait is a race that shows when run,
// if often enough.  A few hardly can: messages between ranks order the same, which the checker does
// not count on.
TEST(AnyOrder, ShowsTheRacesThatTheCheckerRefuses) {
  Rng rng(34);
  int missing = 0, shown = 0;
  for (const SmallJob& job :
       {SmallJob{.ranks = 3, .microbatches = 6, .layers = 3},
        SmallJob{.schedule = ScheduleKind::kDualPipeV, .microbatches = 5, .recompute = 1},
        SmallJob{.schedule = ScheduleKind::kDualPipe, .microbatches = 6, .tied = true}}) {
    const Subject subject(SmallSpec(job));
    for (int rank = 0; rank < subject.plan.num_ranks; ++rank) {
      for (size_t i = 0; i < subject.plan.ranks[rank].train.size(); ++i) {
        for (size_t w = 0; w < subject.plan.ranks[rank].train[i].waits.size(); ++w) {
          Plan edited = subject.plan;
          auto& waits = edited.ranks[rank].train[i].waits;
          waits.erase(waits.begin() + static_cast<int>(w));
          ++missing;
          EXPECT_FALSE(CheckPlan(edited, subject.spec).ok());
          shown += !subject.Run(edited, 200, rng).empty();
        }
      }
    }
  }
  std::printf("%d waits left out: %d show when run\n", missing, shown);
  EXPECT_GT(missing, 100);
  EXPECT_GT(shown, missing * 8 / 10);
}

// What a runner that believes everything would not notice.
TEST(Runner, NoticesWhatIsWrong) {
  Rng rng(35);
  const Subject subject(SmallSpec({.schedule = ScheduleKind::kDualPipe, .tied = true}));
  const auto fault_of = [&](void (*edit)(Plan&)) {
    Plan edited = subject.plan;
    edit(edited);
    return subject.Run(edited, 2, rng);
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(fault_of([](Plan& plan) {
                auto& program = plan.ranks[0].train;
                program.erase(program.begin() + FindOp(program, Op::kReceiveGradient));
                for (Instruction& i : program) i.waits.clear();
              }),
              HasSubstr("train: "));
  EXPECT_THAT(fault_of([](Plan& plan) {
                plan.ranks[1].train[FindOp(plan.ranks[1].train, Op::kBackwardWeight)].op =
                    Op::kFree;
              }),
              HasSubstr("has another gradient"));
  EXPECT_THAT(fault_of([](Plan& plan) {
                auto& program = plan.ranks[1].evaluate;
                program[FindOp(program, Op::kForward)].reads.clear();
              }),
              HasSubstr("evaluate: rank 0 has another loss"));
  EXPECT_THAT(fault_of([](Plan& plan) {
                auto& program = plan.ranks[1].train;
                program[FindOp(program, Op::kOptimizer)].waits.clear();
              }),
              HasSubstr("steps before it has agreed"));
  EXPECT_THAT(fault_of([](Plan& plan) {
                plan.ranks[1].train.erase(plan.ranks[1].train.begin() +
                                          FindOp(plan.ranks[1].train, Op::kAgree));
                for (Instruction& i : plan.ranks[1].train) i.waits.clear();
              }),
              HasSubstr("train: hangs: rank 0"));
}

}  // namespace
}  // namespace birkhoff
