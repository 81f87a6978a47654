// What validates is planned within a second and 512 MiB on one core; what would cost more is
// refused at once, with the field to change and a value that would do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <ctime>

#include "core/base/rng.h"
#include "core/plan/compile.h"
#include "core/plan/cost_model.h"
#include "core/plan/partition.h"
#include "core/plan/schedule.h"
#include "core/spec/plan_size.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Sanitizers and debug builds are slower by their own measure.
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
constexpr double kMostSeconds = 1.0;
constexpr int64_t kMostMiB = 512;
#else
constexpr double kMostSeconds = 30.0;
constexpr int64_t kMostMiB = 8192;
#endif

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

int64_t PeakMiB() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

JobSpec Spec(int layers, int ranks, int microbatches, ScheduleKind schedule, int recompute) {
  JobSpec spec;
  spec.data.train = {{"corpus", 1.0}};
  spec.model.vocab_size = 257;
  spec.model.num_hidden_layers = layers;
  spec.parallelism.pipeline_parallel_degree = ranks;
  spec.parallelism.schedule = schedule;
  spec.parallelism.recompute = recompute;
  spec.training.micro_batch_size = 1;
  spec.training.global_batch_size = microbatches;
  return spec;
}

// Plans what validates; true if it was planned.
bool ValidateAndPlan(const JobSpec& spec, int64_t memory_bytes) {
  SCOPED_TRACE(absl::StrCat(
      "layers ", spec.model.num_hidden_layers, ", ranks ",
      spec.parallelism.pipeline_parallel_degree, " x ", spec.parallelism.data_parallel_degree,
      ", batch ", spec.training.global_batch_size, ", recompute ", spec.parallelism.recompute,
      ", schedule ", ScheduleName(spec.parallelism.schedule)));
  const double begin = CpuSeconds();
  const bool valid = ValidateJobSpec(spec).empty();
  if (valid) {
    ClusterSpec cluster;
    cluster.workers.emplace_back().memory_bytes = memory_bytes;
    const absl::StatusOr<Plan> plan = CompilePlan(spec, cluster);
    EXPECT_TRUE(plan.ok() || absl::IsFailedPrecondition(plan.status())) << plan.status();
    EXPECT_GE(plan.ok() ? plan->predicted_step_ns : 0, 0) << "overflow";
  }
  EXPECT_LT(CpuSeconds() - begin, kMostSeconds);
  return valid;
}

const char* FieldOf(const JobSpec& spec) {
  static std::string field;
  const std::vector<Problem> problems = ValidateJobSpec(spec);
  field = problems.size() == 1 ? problems[0].field : absl::StrCat(problems.size(), " problems");
  return field.c_str();
}

TEST(Admission, TheLargestPlansThatAreAcceptedArePlannedInASecond) {
  constexpr int kAuto = ParallelismSpec::kRecomputeAuto;
  for (const int64_t memory : {int64_t{0}, int64_t{1} << 20}) {
    for (const auto& [layers, ranks, schedule] : {std::tuple{2047, 64, ScheduleKind::kDualPipeV},
                                                  {2047, 96, ScheduleKind::kDualPipeV},
                                                  {2047, 8, ScheduleKind::kDualPipe},
                                                  {2047, 1024, ScheduleKind::k1F1B},
                                                  {2047, 1, ScheduleKind::kDualPipeV},
                                                  {149, 8, ScheduleKind::kDualPipeV},
                                                  {149, 4, ScheduleKind::kDualPipeV},
                                                  {32, 16, ScheduleKind::kDualPipe}}) {
      for (const int recompute : {kAuto, 0, 1, 40}) {
        JobSpec spec = Spec(layers, ranks, 1, schedule, recompute);
        // The most micro-batches that are accepted.
        const int64_t most = kMostInstructions / std::max<int64_t>(1, EstimateInstructions(spec));
        spec.training.global_batch_size = static_cast<int>(most - most % 2);
        ValidateAndPlan(spec, memory);
      }
    }
  }
  EXPECT_LT(PeakMiB(), kMostMiB);
}

TEST(Admission, WhateverValidatesIsPlannedInASecond) {
  Rng rng(8);
  const auto draw = [&](double least, double most) {
    return static_cast<int>(least * std::pow(most / least, rng.Uniform()));
  };
  int planned = 0;
  for (int i = 0; i < 400; ++i) {
    JobSpec spec = Spec(draw(1, 2048), draw(1, 1025), draw(1, 1 << 20),
                        static_cast<ScheduleKind>(rng.Below(3)), draw(1, 40) - 2);
    spec.model.hidden_size = 8 * draw(1, 8192);
    spec.model.intermediate_size = draw(1, 1 << 20);
    spec.training.micro_batch_size = draw(1, 16);
    spec.training.sequence_length = draw(1, 1 << 20);
    spec.training.validation_batches = draw(1, 1 << 20);
    spec.parallelism.data_parallel_degree = draw(1, 16);
    const int unit = spec.training.micro_batch_size * spec.parallelism.data_parallel_degree;
    spec.training.global_batch_size = (spec.training.global_batch_size / unit + 1) * unit;
    planned += ValidateAndPlan(spec, int64_t{1} << draw(20, 60));
  }
  EXPECT_GE(planned, 40);
  EXPECT_LT(PeakMiB(), kMostMiB);
}

// Each was legal, and cost days, gigabytes or the process.
TEST(Admission, NamesTheFieldAndTheNearestLegalValue) {
  JobSpec wide = Spec(8, 2, 64, ScheduleKind::kDualPipeV, 0);
  wide.model.hidden_size = 65536;
  wide.model.intermediate_size = 1 << 20;
  wide.training.sequence_length = 1 << 20;
  wide.training.micro_batch_size = 16;
  EXPECT_STREQ(FieldOf(wide), "training.sequence_length");
  JobSpec batch = Spec(8, 2, 524288, ScheduleKind::kDualPipeV, 0);
  EXPECT_STREQ(FieldOf(batch), "training.global_batch_size");
  EXPECT_EQ(ProblemToString(ValidateJobSpec(batch)[0]),
            "training.global_batch_size: 524288 is not allowed; need a plan of at most 300000 "
            "instructions, not 33554432 (nearest: 4687; or raise training.micro_batch_size)");
  batch.training.global_batch_size = 4687;
  EXPECT_TRUE(ValidateJobSpec(batch).empty());
  batch.training.global_batch_size = 4688;
  EXPECT_FALSE(ValidateJobSpec(batch).empty());
  JobSpec evaluation = Spec(8, 2, 64, ScheduleKind::kDualPipeV, 0);
  evaluation.training.validation_batches = 1 << 20;
  EXPECT_STREQ(FieldOf(evaluation), "training.validation_batches");
  EXPECT_THAT(ProblemToString(ValidateJobSpec(evaluation)[0]), HasSubstr("nearest: 2343"));
  evaluation.training.validation_batches = 2343;
  EXPECT_TRUE(ValidateJobSpec(evaluation).empty());
  const JobSpec many = Spec(1024, 256, 4096, ScheduleKind::kDualPipeV, 0);
  EXPECT_STREQ(FieldOf(many), "parallelism.pipeline_parallel_degree");
  EXPECT_STREQ(FieldOf(Spec(2048, 2, 64, ScheduleKind::kDualPipeV, 0)), "model.num_hidden_layers");
}

TEST(Admission, CostsSaturateAndNeverOverflow) {
  JobSpec spec = Spec(1, 1, 2, ScheduleKind::kDualPipeV, 0);
  spec.model.hidden_size = 65536;
  spec.model.intermediate_size = 1 << 20;
  spec.training.sequence_length = 1 << 20;
  spec.training.micro_batch_size = 16;
  ClusterSpec slow;
  slow.flops_per_second = 1e-300;
  slow.link_bytes_per_second = 1e-300;
  const CostModel costs(spec, slow);
  int64_t sum = 0;
  for (const int64_t total : costs.UnitTotals()) {
    EXPECT_GE(total, 0);
    sum += total;
  }
  EXPECT_GT(sum, 0);
  EXPECT_GT(costs.TransferNs(int64_t{1} << 60), 0);
  EXPECT_GT(costs.AllReduceNs(int64_t{1} << 60, 1024), 0);
}

// 4,096 units, also with dear ones at the ends and at odd places.
TEST(Admission, LongFoldsAreCutFastAndEvenly) {
  Rng rng(9);
  for (const int ranks : {1, 2, 3, 8, 64, 1024}) {
    std::vector<int64_t> unit_costs(4096);
    for (int64_t& cost : unit_costs) cost = 1'000'000 + static_cast<int64_t>(rng.Below(500'000));
    unit_costs.front() = 10;
    unit_costs.back() = 9'000'000;
    const double begin = CpuSeconds();
    const auto ranges = PartitionUnits(unit_costs, ScheduleKind::kDualPipeV, ranks);
    EXPECT_LT(CpuSeconds() - begin, kMostSeconds);
    ASSERT_TRUE(ranges.ok());
    int64_t whole = 0, dearest = 0;
    int next = 0;
    std::vector<int64_t> stages;
    for (const UnitRange& range : *ranges) {
      EXPECT_EQ(range.first, next);
      EXPECT_LT(range.first, range.last);
      next = range.last;
      int64_t cost = 0;
      for (int unit = range.first; unit < range.last; ++unit) cost += unit_costs[unit];
      stages.push_back(cost);
      whole += cost;
    }
    EXPECT_EQ(next, 4096);
    for (int rank = 0; rank < ranks; ++rank) {
      dearest = std::max(dearest, stages[rank] + stages[stages.size() - 1 - rank]);
    }
    // No worse than even by more than a unit at each end of its runs, or the dearest unit alone.
    EXPECT_LE(dearest, std::max(whole / ranks + 2 * 1'500'000, int64_t{10'500'000})) << ranks;
  }
}

}  // namespace
}  // namespace birkhoff
