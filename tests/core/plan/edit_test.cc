// 10,000 random single edits of valid plans: each is refused by name, or leaves a plan that still
// completes.  That accepted edits run to the same losses is tests/integration/plan_edit_test.cc.
#include <cstdio>
#include <string>

#include "core/plan/check.h"
#include "core/plan/replay.h"
#include "core/plan/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_edits.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::AnyOf;
using ::testing::StartsWith;

TEST(EditedPlan, IsRefusedByNameOrStillCompletes) {
  Rng rng(2024);
  int refused = 0, unchanged = 0, accepted = 0;
  for (int job = 0; job < 100; ++job) {
    const JobSpec spec = SmallSpec(RandomJob(rng, 4));
    const Plan plan = CompileOrDie(spec);
    const std::string text = PlanToText(plan);
    for (int i = 0; i < 100; ++i) {
      Plan edited = plan;
      const std::string what = EditPlan(edited, rng);
      const absl::Status status = CheckPlan(edited, spec);
      if (!status.ok()) {
        ++refused;
        EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
        EXPECT_THAT(std::string(status.message()), AnyOf(StartsWith("rank "), StartsWith("plan: ")))
            << what;
      } else if (PlanToText(edited) == text) {
        ++unchanged;
      } else {
        ++accepted;
        EXPECT_TRUE(ReplayProgram(edited, &RankPlan::train).complete) << what;
      }
    }
  }
  RecordProperty("refused", refused);
  RecordProperty("accepted", accepted);
  std::printf("10000 edits: %d refused, %d changed nothing, %d accepted\n", refused, unchanged,
              accepted);
  EXPECT_EQ(refused + unchanged + accepted, 10000);
  EXPECT_GT(refused, 8000);
  EXPECT_GT(accepted, 100);  // otherwise the edits test nothing but nonsense
}

// A plan that came in with other numbers than were sent is refused or accepted, never a crash.
TEST(DamagedPlan, NeverCrashesTheChecker) {
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipe,
                                  .microbatches = 4,
                                  .recompute = 1,
                                  .replicas = 2,
                                  .tied = true});
  const std::string text = PlanToText(CompileOrDie(spec));
  Rng rng(5);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = text;
    for (int flips = 0; flips < 1 + i % 3; ++flips) {
      size_t at = rng.Below(damaged.size());
      while (damaged[at] < '0' || damaged[at] > '9') at = (at + 1) % damaged.size();
      damaged[at] = static_cast<char>('0' + rng.Below(10));
    }
    const auto plan = PlanFromText(damaged);
    refused += !plan.ok() || !CheckPlan(*plan, spec).ok();
  }
  EXPECT_GT(refused, 1500);
}

// What is accepted may only reorder: with one stream and one rank nothing but waits is free.
TEST(EditedPlan, NoDropIsEverAccepted) {
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipe,
                                  .microbatches = 4,
                                  .recompute = 1,
                                  .replicas = 2,
                                  .tied = true});
  const Plan plan = CompileOrDie(spec);
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    for (size_t i = 0; i < plan.ranks[rank].train.size(); ++i) {
      Plan edited = plan;
      auto& program = edited.ranks[rank].train;
      const std::string what = InstructionToText(program[i]);
      program.erase(program.begin() + i);
      for (Instruction& instruction : program) {
        std::erase(instruction.waits, static_cast<int>(i));
        for (int& wait : instruction.waits) wait -= wait > static_cast<int>(i);
      }
      EXPECT_FALSE(CheckPlan(edited, spec).ok()) << what;
    }
  }
}

// Every wait of a compiled plan is needed.
TEST(EditedPlan, NoWaitCanBeLeftOut) {
  const JobSpec spec = SmallSpec(
      {.schedule = ScheduleKind::kDualPipeV, .ranks = 3, .microbatches = 8, .recompute = 2});
  const Plan plan = CompileOrDie(spec);
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    for (size_t i = 0; i < plan.ranks[rank].train.size(); ++i) {
      for (size_t w = 0; w < plan.ranks[rank].train[i].waits.size(); ++w) {
        Plan edited = plan;
        auto& waits = edited.ranks[rank].train[i].waits;
        waits.erase(waits.begin() + w);
        EXPECT_FALSE(CheckPlan(edited, spec).ok())
            << "rank " << rank << " [" << i << "] wait " << w;
      }
    }
  }
}

}  // namespace
}  // namespace birkhoff
