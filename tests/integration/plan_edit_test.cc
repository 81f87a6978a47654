// 10,000 random single edits of valid plans, in two programs: each is refused by the checker, or
// runs to the same losses as one rank without a pipeline.
#include <cstdio>
#include <set>
#include <string>

#include "core/plan/check.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_edits.h"
#include "tests/core/plan/plan_testing.h"
#include "tests/integration/plan_run.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

constexpr int kSteps = 2;
constexpr int kJobs = 20;
constexpr int kEditsPerJob = 250;

// Small enough to run some hundred of them.
SmallJob EditedJob(Rng& rng) {
  SmallJob job = RandomJob(rng, 4);
  job.microbatches = 2 * job.ranks + 2 * static_cast<int>(rng.Below(3));
  return job;
}

struct Counts {
  int refused = 0, run = 0, repeated = 0;
};

void RunEdits(const JobSpec& spec, Rng& rng, Counts* counts) {
  const auto reference = RunUnpipelined(spec, kSteps);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const Plan plan = CompileOrDie(spec);
  std::set<std::string> seen = {PlanHash(plan)};
  for (int i = 0; i < kEditsPerJob; ++i) {
    Plan edited = plan;
    const std::string what = EditPlan(edited, rng);
    if (!CheckPlan(edited, spec).ok()) {
      ++counts->refused;
      continue;
    }
    if (!seen.insert(PlanHash(edited)).second) {
      ++counts->repeated;
      continue;
    }
    ++counts->run;
    const auto run = RunPlan(edited, spec, kSteps);
    ASSERT_TRUE(run.ok()) << what << ": " << run.status();
    EXPECT_EQ(Difference(*run, *reference), "") << what;
  }
}

TEST(EditedPlan, IsRefusedOrRunsToTheSameLosses) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  Rng rng(BIRKHOFF_EDIT_SEED);
  Counts counts;
  for (int job = 0; job < kJobs; ++job) {
    JobSpec spec = SmallSpec(EditedJob(rng));
    spec.model.residual.expand = ExpandKind::kOneHot;
    RunEdits(spec, rng, &counts);
    if (HasFatalFailure()) return;
  }
  std::printf("%d edits: %d refused, %d run, %d repeated an earlier plan\n", kJobs * kEditsPerJob,
              counts.refused, counts.run, counts.repeated);
  EXPECT_EQ(counts.refused + counts.run + counts.repeated, kJobs * kEditsPerJob);
  EXPECT_GT(counts.run, 50);
}

}  // namespace
}  // namespace birkhoff
