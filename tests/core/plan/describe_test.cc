// What people read of a plan: every number in it follows from the plan.
#include "core/plan/describe.h"

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/plan/memory.h"
#include "core/plan/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Words = std::vector<std::string>;

std::vector<std::string> LinesOf(const JobSpec& spec, const Plan& plan) {
  return absl::StrSplit(DescribePlan(plan, spec), '\n');
}

size_t LineOf(const std::vector<std::string>& lines, const std::string& start) {
  for (size_t i = 0; i < lines.size(); ++i) {
    if (absl::StartsWith(lines[i], start)) return i;
  }
  ADD_FAILURE() << "no line " << start;
  return 0;
}

TEST(DescribePlan, HeadlineSaysWhatIsRun) {
  JobSpec spec = SmallSpec({.ranks = 1, .microbatches = 3, .recompute = 2});
  spec.name = "first";
  Plan plan = CompileOrDie(spec);
  plan.predicted_step_ns = 1'234'567;
  plan.predicted_idle_share = 0.125;
  EXPECT_EQ(LinesOf(spec, plan)[0],
            "first: 1f1b on 1 rank x 1 replica, 3 micro-batches of 4 tokens, recompute blocks of 2 "
            "sub-layers; fp32 on cpu, deterministic");
  EXPECT_EQ(LinesOf(spec, plan)[1],
            absl::StrCat("predicted step time 1.235 ms, idle 12.5 %; plan ", PlanHash(plan),
                         ", model ", ModelHash(spec.model)));
  JobSpec cuda = SmallSpec({.schedule = ScheduleKind::kDualPipe, .replicas = 2});
  cuda.device = DeviceKind::kCuda;
  EXPECT_EQ(LinesOf(cuda, CompileOrDie(cuda))[0],
            "job: dualpipe on 2 ranks x 2 replicas, 4 micro-batches of 4 tokens, no recompute; "
            "bf16 on cuda");
}

TEST(DescribePlan, NamesTheUnitsOfEachStage) {
  const auto units_of = [](const SmallJob& job) {
    const JobSpec spec = SmallSpec(job);
    const auto lines = LinesOf(spec, CompileOrDie(spec));
    std::vector<std::string> units;
    for (size_t i = LineOf(lines, "stage  ranks") + 1; !lines[i].empty(); ++i) {
      units.push_back(lines[i].substr(29));
    }
    return units;
  };
  EXPECT_THAT(units_of({.ranks = 1, .layers = 2}), ElementsAre("embedding, sub-layers 0-3, head"));
  EXPECT_THAT(
      units_of({.ranks = 6, .layers = 2}),
      ElementsAre("embedding", "sub-layer 0", "sub-layer 1", "sub-layer 2", "sub-layer 3", "head"));
  EXPECT_THAT(units_of({.schedule = ScheduleKind::kDualPipeV, .ranks = 1, .layers = 1}),
              ElementsAre(StartsWith("embedding"), HasSubstr("head")));
}

// The tables: holders, parameters with tied ones in both stages, and MiB of each item and rank.
TEST(DescribePlan, TablesHoldTheNumbersOfThePlan) {
  Rng rng(81);
  for (int i = 0; i < 20; ++i) {
    JobSpec spec = SmallSpec(RandomJob(rng, 5));
    spec.training.sequence_length = 1024;  // so that MiB have something to show
    const Plan plan = CompileOrDie(spec);
    const auto lines = LinesOf(spec, plan);
    const size_t first = LineOf(lines, "stage  ranks") + 1;
    for (int stage = 0; stage < plan.NumStages(); ++stage) {
      const Words words = absl::StrSplit(lines[first + stage], ' ', absl::SkipEmpty());
      int64_t elements = 0;
      for (const PlannedParameter& parameter : plan.parameters) {
        for (const int user : parameter.stages) {
          if (user == stage) elements += parameter.spec.NumElements();
        }
      }
      EXPECT_EQ(words[0], absl::StrCat(stage));
      EXPECT_EQ(words[1], absl::StrJoin(plan.stages[stage].ranks, ","));
      EXPECT_EQ(words[2], absl::StrCat(elements));
    }
    // By item, then the sums; below the buffers what they are for.
    double buffer_uses = 0.0, buffers = 0.0;
    const size_t header = LineOf(lines, "place   item");
    for (size_t l = header + 1; !lines[l].empty(); ++l) {
      const std::string place(absl::StripAsciiWhitespace(lines[l].substr(0, 6)));
      const std::string name(absl::StripAsciiWhitespace(lines[l].substr(8, 19)));
      for (int rank = 0; rank < plan.num_ranks; ++rank) {
        const RankPlan& held = plan.ranks[rank];
        double given = -1.0;
        ASSERT_TRUE(absl::SimpleAtod(lines[l].substr(27 + 11 * rank, 11), &given)) << lines[l];
        if (place.empty()) {
          buffer_uses += given;
          continue;
        }
        int64_t bytes = BytesOf(held, name.c_str());
        if (name == "all") bytes = place == "host" ? HostBytes(held) : DeviceBytes(held);
        if (name == "buffers") buffers += given;
        EXPECT_NEAR(given, static_cast<double>(bytes) / (1 << 20), 0.0051) << lines[l];
      }
    }
    EXPECT_GT(buffers, 0.1);
    EXPECT_NEAR(buffer_uses, buffers, 0.0051 * 7 * plan.num_ranks)
        << "each buffer is for one thing";
  }
}

TEST(DescribePlan, ListsAnItemThatOnlySomeRanksHave) {
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipe});
  const Plan plan = CompileOrDie(spec);
  ASSERT_EQ(BytesOf(plan.ranks[1], "checkpoint snapshot"), 0);
  const auto lines = LinesOf(spec, plan);
  const Words words =
      absl::StrSplit(lines[LineOf(lines, "host    checkpoint snapshot")], ' ', absl::SkipEmpty());
  EXPECT_EQ(words.back(), "0.00");
  EXPECT_LT(LineOf(lines, "device  accumulators"), LineOf(lines, "host    checkpoint snapshot"));
}

TEST(DescribePlan, EndsWithTheGridAndItsLegend) {
  const struct {
    ScheduleKind kind;
    const char* legend;
  } cases[] = {
      {ScheduleKind::k1F1B, "pair, . idle\n"},
      {ScheduleKind::kDualPipeV,
       "pair, . idle; lower case the rank's first stage, upper case its second\n"},
      {ScheduleKind::kDualPipe, "pair, . idle; lower case direction 0, upper case direction 1\n"},
  };
  for (const auto& c : cases) {
    const JobSpec spec = SmallSpec({.schedule = c.kind});
    const Plan plan = CompileOrDie(spec);
    EXPECT_THAT(DescribePlan(plan, spec), ::testing::EndsWith(c.legend));
    EXPECT_THAT(DescribePlan(plan, spec), HasSubstr("\n\n" + PlanGrid(plan) + "f forward"));
  }
}

}  // namespace
}  // namespace birkhoff
