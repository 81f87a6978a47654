// What follows from a job spec by arithmetic alone, and the names of schedules and types.
#include "core/spec/job_spec.h"

#include <gtest/gtest.h>

#include "core/spec/precision.h"

namespace birkhoff {
namespace {

struct Batch {
  int global, micro, replicas;
  int microbatches;
};

TEST(MicrobatchesPerStep, AreTheReplicasShareOfTheBatch) {
  for (const Batch& c : {Batch{32, 2, 1, 16},
                         {32, 2, 4, 4},
                         {32, 32, 1, 1},
                         {32, 1, 32, 1},
                         {1, 1, 1, 1},
                         {1 << 24, 1, 1, 1 << 24},
                         {1 << 24, 1 << 14, 1 << 10, 1}}) {
    JobSpec spec;
    spec.training.global_batch_size = c.global;
    spec.training.micro_batch_size = c.micro;
    spec.parallelism.data_parallel_degree = c.replicas;
    EXPECT_EQ(MicrobatchesPerStep(spec), c.microbatches) << c.global << " " << c.micro;
  }
}

struct Evaluation {
  int64_t interval;
  int batches, replicas;
  int of_each;   // 1f1b, dualpipev
  int in_pairs;  // dualpipe
};

TEST(EvaluationMicrobatches, AreSharedUpwardsAndPairedForDualPipe) {
  for (const Evaluation& c : {Evaluation{50, 4, 1, 4, 4},
                              {50, 3, 1, 3, 4},
                              {50, 1, 1, 1, 2},
                              {50, 4, 2, 2, 2},
                              {50, 4, 3, 2, 2},
                              {50, 4, 4, 1, 2},
                              {50, 4, 5, 1, 2},
                              {50, 5, 2, 3, 4},
                              {50, 9, 2, 5, 6},
                              {1, 1 << 20, 1, 1 << 20, 1 << 20},
                              {50, 1 << 20, 1024, 1024, 1024},
                              {0, 4, 1, 0, 0},
                              {0, 3, 1, 0, 0}}) {
    JobSpec spec;
    spec.training.validation_interval = c.interval;
    spec.training.validation_batches = c.batches;
    spec.parallelism.data_parallel_degree = c.replicas;
    for (const ScheduleKind kind : {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV}) {
      spec.parallelism.schedule = kind;
      EXPECT_EQ(EvaluationMicrobatches(spec), c.of_each) << c.batches << " " << c.replicas;
    }
    spec.parallelism.schedule = ScheduleKind::kDualPipe;
    EXPECT_EQ(EvaluationMicrobatches(spec), c.in_pairs) << c.batches << " " << c.replicas;
  }
}

TEST(NumRanks, IsPipelineTimesData) {
  JobSpec spec;
  EXPECT_EQ(NumRanks(spec), 2);
  spec.parallelism.pipeline_parallel_degree = 1024;
  spec.parallelism.data_parallel_degree = 1024;
  EXPECT_EQ(NumRanks(spec), 1 << 20);
}

TEST(ScheduleName, IsUnknownForANumberThatIsNone) {
  EXPECT_STREQ(ScheduleName(ScheduleKind::k1F1B), "1f1b");
  EXPECT_STREQ(ScheduleName(ScheduleKind::kDualPipeV), "dualpipev");
  EXPECT_STREQ(ScheduleName(ScheduleKind::kDualPipe), "dualpipe");
  EXPECT_STREQ(ScheduleName(static_cast<ScheduleKind>(3)), "unknown");
  EXPECT_STREQ(ScheduleName(static_cast<ScheduleKind>(-1)), "unknown");
}

// Numbers are on the wire and in stored plans.
TEST(Precision, NumbersTypesAndNamesStandForEver) {
  EXPECT_EQ(static_cast<int>(Precision::kFp32), 1);
  EXPECT_EQ(static_cast<int>(Precision::kBf16), 2);
  EXPECT_EQ(static_cast<int>(Precision::kFp64), 3);
  EXPECT_EQ(StreamType(Precision::kFp32), DType::kFloat32);
  EXPECT_EQ(StreamType(Precision::kBf16), DType::kBfloat16);
  EXPECT_EQ(StreamType(Precision::kFp64), DType::kFloat64);
  EXPECT_EQ(ScalarType(Precision::kFp32), DType::kFloat32);
  EXPECT_EQ(ScalarType(Precision::kBf16), DType::kFloat32) << "never rounded";
  EXPECT_EQ(ScalarType(Precision::kFp64), DType::kFloat64);
  EXPECT_STREQ(PrecisionName(Precision::kFp32), "fp32");
  EXPECT_STREQ(PrecisionName(Precision::kBf16), "bf16");
  EXPECT_STREQ(PrecisionName(Precision::kFp64), "fp64");
}

}  // namespace
}  // namespace birkhoff
