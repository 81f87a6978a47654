// A whole rank on a GPU: its memory stands still, and its checkpoints are everybody's.  Runs where
// BIRKHOFF_TEST_DEVICE=cuda (tests/gpu.sh).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <memory>

#include "core/plan/compile.h"
#include "core/plan/memory.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/test_device.h"

namespace birkhoff {

int64_t FreeGpuBytes();  // free_memory.cu; negative: the driver does not say

namespace {

using testing::NewTestDirectory;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;

class RankOnGpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (TestDeviceName() != "cuda") GTEST_SKIP() << "needs BIRKHOFF_TEST_DEVICE=cuda";
    options_.directory = NewTestDirectory();
    options_.spec = SmallJob(options_.directory);
  }
  RunOptions options_;
};

TEST_F(RankOnGpuTest, MemoryOfStep300IsThatOfStep3ToTheByte) {
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
    if (steps != 3 && steps != 300) return;
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
