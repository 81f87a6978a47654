// The limits of a plan's size: estimates by hand, the borders, and that what is offered fits.
#include "core/spec/plan_size.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/rng.h"
#include "core/spec/model.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Eight layers: 16 sub-layers in 18 units.
JobSpec Spec(ScheduleKind schedule, int ranks, int microbatches, int recompute) {
  JobSpec spec;
  spec.data.train = {{"t", 1.0}};
  spec.model.vocab_size = 257;
  spec.parallelism.schedule = schedule;
  spec.parallelism.pipeline_parallel_degree = ranks;
  spec.parallelism.recompute = recompute;
  spec.training.micro_batch_size = 1;
  spec.training.global_batch_size = microbatches;
  spec.training.validation_batches = 1;
  return spec;
}

std::vector<std::string> Lines(const JobSpec& spec) {
  std::vector<std::string> lines;
  for (const Problem& problem : CheckPlanSize(spec)) lines.push_back(ProblemToString(problem));
  return lines;
}

struct Estimate {
  ScheduleKind schedule;
  int ranks, microbatches, recompute;
  int64_t instructions;
};

// 16 instructions for each chunk and 3 for each recompute block, of which a chunk may cut one more.
TEST(EstimateInstructions, CountsChunksAndRecomputeBlocks) {
  constexpr int kAuto = ParallelismSpec::kRecomputeAuto, kNone = ParallelismSpec::kRecomputeNone;
  const Estimate cases[] = {
      {ScheduleKind::k1F1B, 1, 1, kNone, 16},
      {ScheduleKind::k1F1B, 1, 7, kNone, 7 * 16},
      {ScheduleKind::k1F1B, 4, 7, kNone, 7 * 64},
      {ScheduleKind::kDualPipeV, 4, 8, kNone, 8 * 128},
      {ScheduleKind::kDualPipe, 4, 8, kNone, 8 * 128},
      {ScheduleKind::k1F1B, 1, 1, 1, 16 + 3 * (16 + 1)},
      {ScheduleKind::k1F1B, 1, 1, 3, 16 + 3 * (5 + 1)},
      {ScheduleKind::k1F1B, 1, 1, 16, 16 + 3 * (1 + 1)},
      {ScheduleKind::k1F1B, 1, 1, kAuto, 16 + 3 * (8 + 1)},  // blocks of sqrt(16 / 3): 2
      {ScheduleKind::kDualPipeV, 2, 4, 4, 4 * (64 + 3 * (4 + 4))},
      {ScheduleKind::kDualPipe, 2, 4, kAuto, 4 * (64 + 3 * (8 + 4))},
  };
  for (const Estimate& c : cases) {
    const JobSpec spec = Spec(c.schedule, c.ranks, c.microbatches, c.recompute);
    EXPECT_EQ(EstimateInstructions(spec), c.instructions)
        << ScheduleName(c.schedule) << " " << c.ranks << " " << c.recompute;
  }
  JobSpec one = Spec(ScheduleKind::k1F1B, 1, 1, kAuto);
  one.model.num_hidden_layers = 1;
  EXPECT_EQ(EstimateInstructions(one), 16 + 3 * (2 + 1)) << "blocks of one sub-layer at least";
}

TEST(EstimateEvaluationInstructions, CountsEightForEachChunk) {
  JobSpec spec = Spec(ScheduleKind::k1F1B, 4, 1, 0);
  spec.training.validation_batches = 5;
  EXPECT_EQ(EstimateEvaluationInstructions(spec), 8 * 4 * 5);
  spec.parallelism.data_parallel_degree = 2;
  EXPECT_EQ(EstimateEvaluationInstructions(spec), 8 * 4 * 3);
  spec.parallelism.schedule = ScheduleKind::kDualPipe;
  EXPECT_EQ(EstimateEvaluationInstructions(spec), 8 * 8 * 4) << "in pairs";
  spec.training.validation_interval = 0;
  EXPECT_EQ(EstimateEvaluationInstructions(spec), 0);
}

TEST(EstimateMicrobatchBytes, SumsWhatASubLayerKeeps) {
  JobSpec spec = Spec(ScheduleKind::k1F1B, 1, 1, 0);
  spec.training.micro_batch_size = 3;
  spec.training.sequence_length = 10;
  // n = 4, C = 128, 4 + 2 x 4 heads of 32, F = 384.
  const double of_sublayer = 20 * 128 + 4 * 12 * 32 + 8 * 384 + 8 * 16;
  EXPECT_EQ(EstimateMicrobatchBytes(spec), 4 * 30 * (18 * of_sublayer + 2 * 257));
  spec.model.residual.kind = ResidualKind::kResidual;
  EXPECT_EQ(EstimateMicrobatchBytes(spec),
            4 * 30 * (18 * (11 * 128 + 4 * 12 * 32 + 8 * 384 + 8) + 2 * 257.0));
}

TEST(CheckPlanSize, RefusesOneInstructionTooMany) {
  // 16 an instruction: 18,750 micro-batches are exactly the limit.
  EXPECT_THAT(Lines(Spec(ScheduleKind::k1F1B, 1, 18750, 0)), IsEmpty());
  EXPECT_THAT(Lines(Spec(ScheduleKind::k1F1B, 1, 18751, 0)),
              ElementsAre("training.global_batch_size: 18751 is not allowed; need a plan of at "
                          "most 300000 instructions, not 300016 (nearest: 18750; or raise "
                          "training.micro_batch_size)"));
  JobSpec replicas = Spec(ScheduleKind::kDualPipe, 2, 4688, 0);
  replicas.training.micro_batch_size = 3;
  replicas.parallelism.data_parallel_degree = 5;
  replicas.training.global_batch_size = 4688 * 15;
  EXPECT_THAT(Lines(replicas),
              ElementsAre("training.global_batch_size: 70320 is not allowed; need a plan of at "
                          "most 300000 instructions, not 300032 (nearest: 70290; or raise "
                          "training.micro_batch_size)"))
      << "4686, the largest even number";
}

TEST(CheckPlanSize, RefusesWorkersWhereNoBatchIsSmallEnough) {
  JobSpec spec = Spec(ScheduleKind::kDualPipeV, 512, 1024, 1);
  spec.model.num_hidden_layers = 2047;
  EXPECT_THAT(Lines(spec),
              ElementsAre("parallelism.pipeline_parallel_degree: 512 is not allowed; need a plan "
                          "of at most 300000 instructions, not 32499712 (use fewer workers per "
                          "replica, parallelism.schedule 1f1b, or larger recompute blocks)"));
}

TEST(CheckPlanSize, RefusesAnEvaluationThatIsTooLong) {
  JobSpec spec = Spec(ScheduleKind::k1F1B, 1, 1, 0);
  spec.training.validation_batches = 9375;
  EXPECT_THAT(Lines(spec), IsEmpty());
  spec.training.validation_batches = 9376;
  EXPECT_THAT(Lines(spec),
              ElementsAre("training.validation_batches: 9376 is not allowed; need an evaluation of "
                          "at most 75000 instructions, not 75008 (nearest: 9375)"));
  spec.training.validation_interval = 0;
  EXPECT_THAT(Lines(spec), IsEmpty()) << "there is none";
}

TEST(CheckPlanSize, RefusesAMicrobatchThatNoMachineHolds) {
  JobSpec spec = Spec(ScheduleKind::k1F1B, 1, 1, 0);
  spec.model.hidden_size = 65536;
  spec.model.num_hidden_layers = 2047;
  spec.model.num_attention_heads = spec.model.num_key_value_heads = 64;
  spec.training.sequence_length = 1 << 14;
  EXPECT_THAT(Lines(spec),
              ElementsAre("training.sequence_length: 16384 is not allowed; need at most 128 TiB "
                          "for one micro-batch in all stages, not 513 TiB (nearest: 4089)"));
  spec.training.sequence_length = 1 << 11;
  spec.training.micro_batch_size = 8;
  EXPECT_THAT(Lines(spec),
              ElementsAre("training.micro_batch_size: 8 is not allowed; need at most 128 TiB for "
                          "one micro-batch in all stages, not 513 TiB (nearest: 1)"));
}

// Put in for the field that is named, what is offered passes the limit that was broken.
TEST(CheckPlanSize, WhatIsOfferedFits) {
  Rng rng(5);
  int offered = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto schedule = static_cast<ScheduleKind>(rng.Below(3));
    const int ranks = 1 + static_cast<int>(rng.Below(20));
    JobSpec spec = Spec(schedule, ranks, 1, static_cast<int>(rng.Below(4)) - 1);
    spec.model.num_hidden_layers = 1 << rng.Below(12);
    spec.model.hidden_size = 1 << (7 + rng.Below(10));
    spec.training.sequence_length = 1 << rng.Below(21);
    spec.training.micro_batch_size = 1 + static_cast<int>(rng.Below(16));
    spec.parallelism.data_parallel_degree = 1 + static_cast<int>(rng.Below(3));
    spec.training.validation_batches = 1 << rng.Below(21);
    const int unit = spec.training.micro_batch_size * spec.parallelism.data_parallel_degree;
    spec.training.global_batch_size = unit * (1 + static_cast<int>(rng.Below(100'000)));
    for (const Problem& problem : CheckPlanSize(spec)) {
      if (problem.field == "parallelism.pipeline_parallel_degree") continue;
      ASSERT_EQ(problem.remedy.substr(0, 9), "nearest: ") << ProblemToString(problem);
      const int value = std::atoi(problem.remedy.c_str() + 9);
      ASSERT_GE(value, 1) << ProblemToString(problem);
      JobSpec mended = spec;
      (problem.field == "training.global_batch_size"    ? mended.training.global_batch_size
       : problem.field == "training.validation_batches" ? mended.training.validation_batches
       : problem.field == "training.micro_batch_size"   ? mended.training.micro_batch_size
                                                        : mended.training.sequence_length) = value;
      for (const Problem& left : CheckPlanSize(mended)) EXPECT_NE(left.field, problem.field);
      ++offered;
    }
  }
  EXPECT_GT(offered, 1000);
}

// The rules of fields are judged first: of a spec that breaks one, its plan's size says nothing.
TEST(CheckPlanSize, IsAskedOfSpecsThatAreOtherwiseSound) {
  JobSpec spec = Spec(ScheduleKind::k1F1B, 1, 18751, 0);
  EXPECT_THAT(ValidateJobSpec(spec), SizeIs(1));
  EXPECT_EQ(ValidateJobSpec(spec)[0].field, "training.global_batch_size");
  spec.name = "A";
  EXPECT_THAT(ValidateJobSpec(spec), SizeIs(1));
  EXPECT_EQ(ValidateJobSpec(spec)[0].field, "name");
}

}  // namespace
}  // namespace birkhoff
