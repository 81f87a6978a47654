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
using testing::kEveryWorker;
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
    const int failures = NumFailures();
    EXPECT_EQ(result.job.state, JobState::kSucceeded) << result.job.reason.sentence;
    EXPECT_EQ(result.losses, undisturbed_->losses);
    EXPECT_EQ(result.tensors, undisturbed_->tensors);
    EXPECT_EQ(result.metrics_steps, undisturbed_->metrics_steps);
    EXPECT_EQ(result.num_busy_at_end, 0);
    if (NumFailures() > failures) ADD_FAILURE() << result.trace;
  }
  static int NumFailures() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    return test == nullptr ? 0 : test->result()->total_part_count();
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

// One that dies just when the coordinator is awake again is missed after a lease, not after
// another stall.
TEST_F(SimulatedClusterTest, MissesWhoDiesAfterAStallWithinALease) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SimOptions options{.spec = *spec_, .seed = seed, .disturbances = {}};
    options.disturbances = {{Kind::kStallCoordinator, 2, 0, absl::Minutes(10)},
                            {Kind::kCutRanks, 2, 0, absl::Minutes(10)},
                            {Kind::kStallWorker, 2, 1, absl::Minutes(25)}};
    options.spare_workers = 1;
    const SimResult result = RunCluster(options);
    ExpectSameBits(result);
    EXPECT_EQ(result.job.attempt, 2);
    EXPECT_LT(result.ended_after, absl::Minutes(11));
  }
}

// --- the disks ---

// An append that takes longer than a lease is nobody's silence either.
TEST_F(SimulatedClusterTest, LosesNobodyWhileTheStoreIsSlow) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kSlowStore, 0, 0, absl::Seconds(12)}});
    ExpectSameBits(result);
    EXPECT_EQ(result.job.attempt, 1);
    EXPECT_EQ(result.num_leaves, 0);
  }
}

TEST_F(SimulatedClusterTest, FindsOutThroughASlowStoreWhoHasDied) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result =
        RunWithFile(seed, {{Kind::kSlowStore, 1, 0, absl::Seconds(8)}, {Kind::kKillWorker, 3, 1}});
    ExpectSameBits(result);
    EXPECT_GE(result.job.attempt, 2);
    EXPECT_LT(result.ended_after, absl::Minutes(3));
  }
}

// Training does not wait for a checkpoint, the end of the job does.
TEST_F(SimulatedClusterTest, WaitsForCheckpointsThatASlowDiskTakesLongToKeep) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kSlowFiles, 0, kEveryWorker, absl::Seconds(25)}});
    ExpectSameBits(result);
    EXPECT_EQ(result.job.attempt, 1);
  }
}

TEST_F(SimulatedClusterTest, ResumesFromWhatWasDurableWhenAWorkerWithASlowDiskDies) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ExpectSameBits(
        Run(seed, {{Kind::kSlowFiles, 0, 1, absl::Seconds(25)}, {Kind::kKillWorker, 6, 1}}));
  }
}

// --- the network ---

class NetworkTest : public SimulatedClusterTest, public ::testing::WithParamInterface<Kind> {};

// What was held up arrives late, once, and in order.
TEST_P(NetworkTest, TrainsOnThroughACutThatIsShorterThanALease) {
  for (const uint64_t seed : kSeeds) {
    for (const int worker : {0, 1, kEveryWorker}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", worker ", worker));
      const SimResult result = Run(seed, {{GetParam(), 3, worker, absl::Seconds(3)}});
      ExpectSameBits(result);
      EXPECT_EQ(result.job.attempt, 1);
      EXPECT_EQ(result.num_connections, 2);
      EXPECT_EQ(result.num_leaves, 0);
    }
  }
}

// For as long as connections last, and beyond.
TEST_P(NetworkTest, ComesToTheSameEndAfterALongCut) {
  for (const uint64_t seed : kSeeds) {
    for (const int worker : {0, 1, kEveryWorker}) {
      for (const absl::Duration lasts : {absl::Seconds(9), absl::Seconds(40)}) {
        SCOPED_TRACE(
            absl::StrCat("seed ", seed, ", worker ", worker, ", ", absl::FormatDuration(lasts)));
        const SimResult result = Run(seed, {{GetParam(), 3, worker, lasts}});
        ExpectSameBits(result);
        EXPECT_EQ(result.num_leaves, 0) << "a worker that was cut off is welcome again";
      }
    }
  }
}

// The attempt that is cut off trains on beside the one that takes its place: nothing of what it
// does counts, and it ends when it hears so.
TEST_P(NetworkTest, AnAttemptThatIsCutOffDisturbsTheNextOneInNothing) {
  for (const uint64_t seed : kSeeds) {
    for (const int64_t step : {0, 2, 5}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", step ", step));
      SimOptions options{.spec = *spec_, .seed = seed, .disturbances = {}};
      options.spare_workers = 2;
      options.slowest_step = absl::Seconds(4);
      options.disturbances = {{GetParam(), step, 0, absl::Minutes(1)},
                              {GetParam(), step, 1, absl::Minutes(1)}};
      const SimResult result = RunCluster(options);
      ExpectSameBits(result);
      EXPECT_GE(result.job.attempt, 2);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, NetworkTest,
                         ::testing::Values(Kind::kCutNetwork, Kind::kCutToCoordinator,
                                           Kind::kCutToWorker),
                         [](const auto& test) {
                           return test.param == Kind::kCutNetwork         ? "Both"
                                  : test.param == Kind::kCutToCoordinator ? "ToCoordinator"
                                                                          : "ToWorker";
                         });

TEST_F(SimulatedClusterTest, GoesOnWhenRanksCouldNotReachEachOtherForAWhile) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kCutRanks, 4}});
    ExpectSameBits(result);
    EXPECT_EQ(result.job.attempt, 1);
  }
}

TEST_F(SimulatedClusterTest, AWorkerThatStoodStillIsToldWhatHasBecomeOfItsAttempt) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    SimOptions options{.spec = *spec_, .seed = seed, .disturbances = {}};
    options.spare_workers = 1;
    options.slowest_step = absl::Seconds(4);
    options.disturbances = {{Kind::kStallWorker, 2, 0, absl::Seconds(20)}};
    const SimResult result = RunCluster(options);
    ExpectSameBits(result);
    EXPECT_GE(result.job.attempt, 2);
    EXPECT_EQ(result.num_leaves, 0);
  }
}

// --- the clocks ---

// Wall clocks are for people: who sets one changes nothing of what is done.
TEST_F(SimulatedClusterTest, TakesNoNoticeOfClocksThatAreSet) {
  const absl::Duration hour = absl::Hours(1);
  for (const uint64_t seed : kSeeds) {
    for (const absl::Duration by : {hour, -hour}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", ", absl::FormatDuration(by)));
      const SimResult result = Run(seed, {{Kind::kStepWorkerClock, 1, 0, by},
                                          {Kind::kStepCoordinatorClock, 2, 0, by},
                                          {Kind::kStepWorkerClock, 4, 0, -by},
                                          {Kind::kStepCoordinatorClock, 5, 0, -by}});
      ExpectSameBits(result);
      EXPECT_EQ(result.job.attempt, 1);
      EXPECT_EQ(result.num_connections, 2);
      EXPECT_EQ(result.num_leaves, 0);
    }
  }
}

TEST_F(SimulatedClusterTest, ReplaysALogWhoseTimesRunBackwards) {
  for (const uint64_t seed : kSeeds) {
    for (const absl::Duration by : {absl::Hours(1), -absl::Hours(1)}) {
      SCOPED_TRACE(absl::StrCat("seed ", seed, ", ", absl::FormatDuration(by)));
      const SimResult result = RunWithFile(
          seed, {{Kind::kStepCoordinatorClock, 2, 0, by}, {Kind::kRestartCoordinator, 4}});
      ExpectSameBits(result);
      EXPECT_EQ(result.job.attempt, 1);
    }
  }
}

// A life that a clock named too late locks out none that a right clock names.
TEST_F(SimulatedClusterTest, TakesAWorkerBackWhoseClockWasAnHourAheadOnce) {
  for (const uint64_t seed : kSeeds) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const SimResult result = Run(seed, {{Kind::kStepWorkerClock, 0, 1, absl::Hours(1)},
                                        {Kind::kKillWorker, 2, 1},
                                        {Kind::kStepWorkerClock, 4, 1, -absl::Hours(1)},
                                        {Kind::kKillWorker, 5, 1}});
    ExpectSameBits(result);
    EXPECT_LT(result.ended_after, absl::Minutes(2));
  }
}

// How much of each kind of fault a mix asks for.
absl::Duration AmountOf(Kind kind, Rng& rng) {
  switch (kind) {
    case Kind::kSlowStore:
    case Kind::kSlowFiles:
      return absl::Seconds(1 + rng.Below(12));
    case Kind::kStepWorkerClock:
    case Kind::kStepCoordinatorClock:
      return absl::Hours(rng.Below(2) == 0 ? 1 : -1);
    default:
      return absl::Seconds(1 + rng.Below(40));
  }
}

TEST_F(SimulatedClusterTest, SurvivesAnyMixOfDisturbances) {
  for (uint64_t seed = 100; seed < 100 + BIRKHOFF_NUM_MIXES; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    const testing::TemporaryDirectory directory;
    SimOptions options{
        .spec = *spec_, .store = directory / "store.db", .seed = seed, .disturbances = {}};
    Rng rng(seed, "disturbances");
    options.spare_workers = static_cast<int>(rng.Below(3));
    if (rng.Below(2) == 0) options.slowest_step = absl::Seconds(3);
    const int num_workers = 2 + options.spare_workers;
    for (int i = 0; i < 6; ++i) {
      const Kind kind = static_cast<Kind>(rng.Below(static_cast<int>(Kind::kNumKinds)));
      const auto step = static_cast<int64_t>(rng.Below(kSteps + 1));
      const int worker = static_cast<int>(rng.Below(num_workers + 1)) - 1;
      options.disturbances.push_back({kind, step, worker, AmountOf(kind, rng)});
    }
    ExpectSameBits(RunCluster(options));
  }
}

}  // namespace
}  // namespace birkhoff
