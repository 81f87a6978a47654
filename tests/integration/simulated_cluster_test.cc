// Coordinator, agents and ranks on a simulated clock and network: whatever is killed, cut or
// started anew, the job ends with the bits of the undisturbed run.  tests/testing/sim_cluster.h
// says what is not simulated.
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/rng.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/sim_cluster.h"
#include "tests/testing/temporary_directory.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

using testing::Disturbance;
using testing::RunCluster;
using testing::SimOptions;
using testing::SimResult;
using Kind = testing::Disturbance::Kind;

constexpr int kSteps = 8;  // checkpoints after 3, 6 and 8
constexpr uint64_t kSeeds[] = {1, 2, 3, 4};

JobSpec TinyJob(const std::string& directory) {
  JobSpec spec = testing::SmallJob(directory);
  spec.model.hidden_size = 8;
  spec.model.num_hidden_layers = 2;
  spec.model.intermediate_size = 16;
  spec.training.steps = kSteps;
  spec.training.sequence_length = 8;
  spec.training.global_batch_size = 4;
  spec.training.validation_interval = 0;
  spec.checkpoint.interval = 3;
  return spec;
}

class SimulatedClusterTest : public ::testing::Test {
 protected:
  void SetUp() override { BIRKHOFF_SKIP_RANKS_ON_GPU(); }
  static void SetUpTestSuite() {
    if (TestDeviceName() == "cuda") return;
    directory_ = new testing::TemporaryDirectory;
    spec_ = new JobSpec(TinyJob(directory_->path()));
    undisturbed_ = new SimResult(RunCluster({.spec = *spec_, .disturbances = {}}));
  }
  static void TearDownTestSuite() {
    delete undisturbed_;
    delete spec_;
    delete directory_;
  }

  static SimResult Run(uint64_t seed, std::vector<Disturbance> disturbances) {
    return RunCluster({.spec = *spec_, .seed = seed, .disturbances = std::move(disturbances)});
  }
  // With a store that outlives the coordinator.
  static SimResult RunWithFile(uint64_t seed, std::vector<Disturbance> disturbances) {
    const testing::TemporaryDirectory directory;
    return RunCluster({.spec = *spec_,
                       .store = directory / "store.db",
                       .seed = seed,
                       .disturbances = std::move(disturbances)});
  }
  static void ExpectSameBits(const SimResult& result) {
    EXPECT_EQ(result.job.state, JobState::kSucceeded) << result.job.reason.sentence;
    EXPECT_EQ(result.losses, undisturbed_->losses);
    EXPECT_EQ(result.tensors, undisturbed_->tensors);
    EXPECT_EQ(result.metrics_steps, undisturbed_->metrics_steps);
    EXPECT_EQ(result.num_busy_at_end, 0);
    if (HasFailure()) ADD_FAILURE() << result.trace;
  }

  static testing::TemporaryDirectory* directory_;
  static JobSpec* spec_;
  static SimResult* undisturbed_;
};

testing::TemporaryDirectory* SimulatedClusterTest::directory_ = nullptr;
JobSpec* SimulatedClusterTest::spec_ = nullptr;
SimResult* SimulatedClusterTest::undisturbed_ = nullptr;

TEST_F(SimulatedClusterTest, TrainsToTheEnd) {
  ExpectSameBits(*undisturbed_);
  std::vector<int64_t> all(kSteps);
  std::iota(all.begin(), all.end(), 1);
  EXPECT_EQ(undisturbed_->metrics_steps, all);
  ASSERT_EQ(undisturbed_->losses.size(), kSteps);
  EXPECT_LT(undisturbed_->losses.at(kSteps), undisturbed_->losses.at(1));
  EXPECT_EQ(undisturbed_->job.attempt, 1);
  EXPECT_EQ(undisturbed_->job.checkpoint->step, kSteps);
  EXPECT_EQ(undisturbed_->num_connections, 2);
  EXPECT_EQ(undisturbed_->num_leaves, 0);
}

// The whole system is a function of the seed: that is what makes a failure of it repeatable.
TEST_F(SimulatedClusterTest, SaysTheSameAgainWithTheSameSeed) {
  const std::vector<Disturbance> disturbances = {
      {Kind::kCutConnection, 2, 0}, {Kind::kKillWorker, 4, 1}, {Kind::kCutConnection, 6, 1}};
  const SimResult one = Run(7, disturbances), same = Run(7, disturbances),
                  other = Run(8, disturbances);
  EXPECT_EQ(one.trace, same.trace);
  EXPECT_NE(one.trace, other.trace);
}

TEST_F(SimulatedClusterTest, ResumesFromTheCheckpointWhenAWorkerDies) {
  for (const uint64_t seed : kSeeds) {
    for (const int worker : {0, 1}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", worker ", worker));
      const SimResult result = Run(seed, {{Kind::kKillWorker, 5, worker}});
      ExpectSameBits(result);
      EXPECT_GE(result.job.attempt, 2);
      EXPECT_GE(result.job.restarts, 1);
      EXPECT_GE(result.resumed_step, 3);
    }
  }
}

// The next attempt may find nothing left to do.
TEST_F(SimulatedClusterTest, SucceedsWhenAWorkerDiesAfterTheLastStep) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ExpectSameBits(Run(seed, {{Kind::kKillWorker, kSteps, 0}}));
  }
}

TEST_F(SimulatedClusterTest, TrainsOnWhileTheCoordinatorIsAway) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = RunWithFile(seed, {{Kind::kRestartCoordinator, 4}});
    ExpectSameBits(result);
    EXPECT_GE(result.steps_unwatched, 1);
    EXPECT_EQ(result.job.attempt, 1);
    EXPECT_EQ(result.num_leaves, 0);
  }
}

// Leases are judged only after those who spoke meanwhile could be heard.
TEST_F(SimulatedClusterTest, LosesNobodyWhileTheCoordinatorItselfStandsStill) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kStallCoordinator, 2}});
    ExpectSameBits(result);
    EXPECT_EQ(result.job.attempt, 1);
    EXPECT_EQ(result.job.restarts, 0);
    EXPECT_EQ(result.num_leaves, 0);
  }
}

TEST_F(SimulatedClusterTest, FindsOutAfterAStallWhoHasDiedDuringIt) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ExpectSameBits(Run(seed, {{Kind::kStallCoordinator, 2}, {Kind::kKillWorker, 4, 1}}));
  }
}

// Item 24: supervisors and connections live, and nothing moves.
TEST_F(SimulatedClusterTest, GoesOnWhenARankIsStopped) {
  for (const uint64_t seed : kSeeds) {
    for (const int64_t step : {0, 1, 5, kSteps}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", step ", step));
      const SimResult result = Run(seed, {{Kind::kStopRank, step, 1}});
      ExpectSameBits(result);
      EXPECT_EQ(result.num_leaves, 0);
      if (step > 0 && step < kSteps) {
        EXPECT_EQ(result.job.attempt, 2);
      }
    }
  }
}

TEST_F(SimulatedClusterTest, StartsAlthoughTheCoordinatorGoesWhileRanksMeet) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result =
        RunWithFile(seed, {{Kind::kRestartCoordinator, 0}, {Kind::kCutConnection, 0, 1}});
    ExpectSameBits(result);
    EXPECT_EQ(result.num_leaves, 0);
  }
}

TEST_F(SimulatedClusterTest, TrainsOnWhenConnectionsAreCut) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kCutConnection, 1, 0},
                                        {Kind::kCutConnection, 3, 0},
                                        {Kind::kCutConnection, 3, 1},
                                        {Kind::kCutConnection, 6, 0},
                                        {Kind::kCutConnection, 8, 1}});
    ExpectSameBits(result);
    EXPECT_GE(result.num_connections, 4);
    EXPECT_EQ(result.job.attempt, 1);
    EXPECT_EQ(result.num_leaves, 0);
  }
}

TEST_F(SimulatedClusterTest, LosesNoStepWhenAWorkerIsAskedToLeave) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kStopWorker, 4, 1}});
    ExpectSameBits(result);
    EXPECT_GE(result.job.attempt, 2);
    EXPECT_GT(result.resumed_step, 3) << "a clean stop commits a checkpoint of its own";
    EXPECT_EQ(result.num_leaves, 1);
  }
}

TEST_F(SimulatedClusterTest, SurvivesAnyMixOfDisturbances) {
  for (uint64_t seed = 100; seed < 100 + BIRKHOFF_NUM_MIXES; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Rng rng(seed, "disturbances");
    std::vector<Disturbance> disturbances;
    for (int i = 0; i < 4; ++i) {
      disturbances.push_back({static_cast<Kind>(rng.Below(4)),
                              static_cast<int64_t>(rng.Below(kSteps + 1)),
                              static_cast<int>(rng.Below(2))});
    }
    ExpectSameBits(RunWithFile(seed, disturbances));
  }
}

}  // namespace
}  // namespace birkhoff
