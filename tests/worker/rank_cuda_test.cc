// A whole rank on a GPU: its memory stands still, and its checkpoints are everybody's.  Runs where
// BIRKHOFF_TEST_DEVICE=cuda (tests/gpu.sh).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

#include "core/format/checkpoint_root.h"
#include "core/plan/compile.h"
#include "core/plan/memory.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/test_device.h"

namespace birkhoff {

int64_t FreeGpuBytes();  // free_memory.cu; negative: the driver does not say

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::NewTestDirectory;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;
using testing::TensorChecksums;

class RankOnGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (TestDeviceName() != "cuda") GTEST_SKIP() << "needs BIRKHOFF_TEST_DEVICE=cuda";
    options_.directory = NewTestDirectory();
    options_.spec = SmallJob(options_.directory);
  }
  RunOptions options_;
};

// By step 10 both programs in flight have their graphs, which the driver keeps memory for.
TEST_F(RankOnGpuTest, MemoryOfStep300IsThatOfStep10ToTheByte) {
  options_.spec.training.precision = PrecisionKind::kBf16;
  options_.spec.training.steps = 301;
  Device* device = nullptr;
  options_.make_device = [&device](int, Transport&) {
    std::unique_ptr<Device> made = NewTestDevice();
    device = made.get();
    return made;
  };
  const int64_t before = FreeGpuBytes();
  int64_t allocated[2] = {}, free[2] = {};
  options_.before_step = [&](int, int64_t steps, Rank&, Transport&) {
    if (steps != 10 && steps != 300) return;
    allocated[steps == 300] = device->allocated_bytes();
    free[steps == 300] = FreeGpuBytes();
  };
  ASSERT_TRUE(RunRanks(options_).status().ok());
  const Plan plan = CompilePlan(options_.spec, ClusterSpec{}).value();
  EXPECT_EQ(allocated[0], DeviceBytes(plan.ranks[0]));
  EXPECT_EQ(allocated[1], allocated[0]);
  EXPECT_GT(free[0], 0);
  EXPECT_EQ(free[1], free[0]);
  // What the driver and libraries took beside what the plan lists.
  std::printf("%-60s %.1f MiB\n", "beside the plan (kernels and handles of libraries)",
              static_cast<double>(before - free[0] - allocated[0]) / (1 << 20));
}

// Medians of a run's steps after the first four.
double MedianStepSeconds(const RunResult& result) {
  std::vector<double> seconds;
  for (const StepReport& report : result.reports[0]) {
    if (report.step > 4) seconds.push_back(report.step_seconds);
  }
  std::ranges::nth_element(seconds, seconds.begin() + std::ssize(seconds) / 2);
  return seconds[seconds.size() / 2];
}

class StepGraphTest : public RankOnGpuTest {
 protected:
  // Runs the job with graphs and without: losses, gradient norms and validation losses are the same
  // bits, and so is what the checkpoint holds.
  void Compare(const char* what) {
    RunResult results[2];
    std::string checksums[2];
    PosixDisk disk;
    for (const bool graphs : {false, true}) {
      options_.graphs = graphs;
      options_.fresh = true;
      results[graphs] = RunRanks(options_);
      ASSERT_TRUE(results[graphs].status().ok()) << results[graphs].status();
      const std::string last = CheckpointName(options_.spec.training.steps);
      checksums[graphs] =
          TensorChecksums(disk, absl::StrCat(options_.directory, "/checkpoints/", last));
    }
    const RunResult &launched = results[0], &replayed = results[1];
    EXPECT_THAT(launched.log, ElementsAre(HasSubstr("first step after")));
    EXPECT_THAT(replayed.log, ElementsAre(HasSubstr("first step after"),
                                          HasSubstr("steps are replayed as graphs")));
    ASSERT_EQ(replayed.reports[0].size(), launched.reports[0].size());
    int different = 0;
    for (size_t i = 0; i < launched.reports[0].size(); ++i) {
      const StepReport &got = replayed.reports[0][i], &want = launched.reports[0][i];
      different += got.loss != want.loss || got.grad_norm != want.grad_norm ||
                   got.validation_loss != want.validation_loss;
    }
    EXPECT_EQ(different, 0);
    EXPECT_EQ(checksums[0], checksums[1]);
    EXPECT_THAT(checksums[0], HasSubstr("embedding"));
    const double seconds[] = {MedianStepSeconds(launched), MedianStepSeconds(replayed)};
    std::printf("%-60s launched %.3f ms, replayed %.3f ms, ratio %.3f\n", what, seconds[0] * 1e3,
                seconds[1] * 1e3, seconds[1] / seconds[0]);
  }
};

TEST_F(StepGraphTest, ReplayedStepsHaveTheBitsOfLaunchedOnes) {
  for (const PrecisionKind precision : {PrecisionKind::kFp32, PrecisionKind::kBf16}) {
    for (const int recompute : {0, 3}) {
      options_.spec.training.precision = precision;
      options_.spec.parallelism.recompute = recompute;
      Compare(absl::StrCat("step of a small model, ",
                           precision == PrecisionKind::kFp32 ? "fp32" : "bf16",
                           recompute > 0 ? ", recompute" : "")
                  .c_str());
    }
  }
}

// The shape of GPT-2 with 124M parameters, mHC and the plain residual.
TEST_F(StepGraphTest, AModelOf768ColumnsGainsByReplay) {
  options_.spec.training.precision = PrecisionKind::kBf16;
  options_.spec.model.hidden_size = 768;
  options_.spec.model.num_attention_heads = options_.spec.model.num_key_value_heads = 12;
  options_.spec.model.intermediate_size = 2048;
  options_.spec.model.num_hidden_layers = 12;
  options_.spec.training.sequence_length = 512;
  options_.spec.training.micro_batch_size = 1;
  options_.spec.training.global_batch_size = 4;
  options_.spec.training.steps = 16;
  options_.spec.training.validation_interval = 0;
  options_.spec.checkpoint.interval = 0;
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kMhc}) {
    options_.spec.model.residual.kind = kind;
    Compare(kind == ResidualKind::kMhc ? "step of 12 layers of 768 columns, mHC"
                                       : "step of 12 layers of 768 columns, plain");
  }
}

// fp32, so that the losses of both are nearly the same.
TEST_F(RankOnGpuTest, ACheckpointOfEitherBackendGoesOnOnTheOther) {
  options_.spec.training.precision = PrecisionKind::kFp32;
  options_.spec.training.steps = 8;
  options_.spec.checkpoint.interval = 4;
  const RunResult whole = RunRanks(options_);
  ASSERT_TRUE(whole.status().ok()) << whole.status();
  for (const bool from_gpu : {true, false}) {
    RunOptions options = options_;
    options.directory = NewTestDirectory();
    const auto run = [&options](bool on_gpu, int64_t stop_after) {
      options.spec.device = on_gpu ? DeviceKind::kCuda : DeviceKind::kCpu;
      options.make_device = [on_gpu](int, Transport&) {
        return on_gpu ? NewTestDevice() : NewCpuDevice();
      };
      options.before_step = [stop_after](int, int64_t steps, Rank& self, Transport&) {
        if (steps + 1 == stop_after) self.RequestStop();
      };
      return RunRanks(options);
    };
    const RunResult first = run(from_gpu, /*stop_after=*/4);
    ASSERT_TRUE(first.status().ok()) << first.status();
    ASSERT_EQ(first.reports[0].size(), 4u);
    ++options.attempt;
    const RunResult rest = run(!from_gpu, /*stop_after=*/-1);
    ASSERT_TRUE(rest.status().ok()) << rest.status();
    EXPECT_EQ(rest.ready[0].resumed_step, 4);
    ASSERT_EQ(rest.reports[0].size(), 4u);
    double worst = 0.0;
    for (size_t i = 0; i < 4; ++i) {
      const double got = rest.reports[0][i].loss, want = whole.reports[0][4 + i].loss;
      worst = std::max(worst, std::abs(got / want - 1.0));
    }
    EXPECT_LE(worst, 1e-5);
    std::printf("%-60s worst %.3g limit %.3g\n",
                from_gpu ? "losses of a GPU's checkpoint on the CPU"
                         : "losses of a CPU's checkpoint on the GPU",
                worst, 1e-5);
  }
}

}  // namespace
}  // namespace birkhoff
