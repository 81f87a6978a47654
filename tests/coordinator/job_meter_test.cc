// The measures of one job: its events, its spikes, and where its time went.
#include "coordinator/job_meter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "tests/coordinator/job_events.h"

namespace birkhoff {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class JobMeterTest : public ::testing::Test {
 protected:
  JobMeterTest() { At(0, Created()); }

  void At(double seconds, const JobEvent& event) {
    now_ = Instant{0} + absl::Seconds(seconds);
    ASSERT_TRUE(job_.Step(now_, event).ok());
    meter_.Took(now_, absl::FromUnixSeconds(1000) + absl::Seconds(seconds), event, job_);
  }
  // An attempt that runs, and is ready at `seconds`.
  void Run(double seconds, int attempt) {
    At(seconds, Placed(attempt));
    for (const int rank : {0, 1}) At(seconds, Ready(attempt, rank));
  }
  void StepAt(double seconds, int attempt, int64_t step, double step_seconds,
              bool skipped = false) {
    StepDone done = Stepped(attempt, 0, step);
    done.report.step_seconds = step_seconds;
    done.report.skipped = skipped;
    At(seconds, done);
  }
  uint64_t Events(StabilityEvent event) const {
    return meter_.Read(now_, job_).events[static_cast<int>(event)];
  }

  Job job_{"jobs/tiny"};
  JobMeter meter_{absl::Seconds(60)};
  Instant now_;
};

TEST_F(JobMeterTest, TheLedgerSumsToTheLifeOfTheJob) {
  At(5, Placed(1));
  for (const int rank : {0, 1}) At(7, Ready(1, rank));
  StepAt(10, 1, 1, 2.5);
  At(12, Exited(1, 0, ExitCode::kInternal));
  At(12, Exited(1, 1, ExitCode::kInfrastructure));
  At(20, Placed(2));
  const JobMetrics metrics = meter_.Read(Instant{0} + absl::Seconds(23), job_);
  const auto in = [&](JobState state) { return metrics.seconds_in[static_cast<int>(state)]; };
  EXPECT_DOUBLE_EQ(in(JobState::kQueued), 5.0);
  EXPECT_DOUBLE_EQ(in(JobState::kStarting), 2.0 + 3.0);
  EXPECT_DOUBLE_EQ(in(JobState::kRunning), 5.0);
  EXPECT_DOUBLE_EQ(in(JobState::kRecovering), 8.0);
  EXPECT_DOUBLE_EQ(std::accumulate(metrics.seconds_in.begin(), metrics.seconds_in.end(), 0.0),
                   23.0);
}

TEST_F(JobMeterTest, AStepThatIsDoneAgainOrSkippedIsNotProductive) {
  Run(1, 1);
  StepAt(2, 1, 1, 1.0);
  StepAt(3, 1, 2, 1.0);
  StepAt(4, 1, 3, 1.0, /*skipped=*/true);
  At(5, Exited(1, 0, ExitCode::kInternal));
  At(5, Exited(1, 1, ExitCode::kInfrastructure));
  Run(10, 2);
  StepAt(11, 2, 2, 1.0);  // from the checkpoint of step 1
  StepAt(12, 2, 3, 1.0);
  StepAt(13, 2, 4, 0.5);
  const JobMetrics metrics = meter_.Read(now_, job_);
  EXPECT_DOUBLE_EQ(metrics.productive_seconds, 1.0 + 1.0 + 0.5);
  EXPECT_EQ(metrics.steps, 6u);
}

TEST_F(JobMeterTest, AJobThatIsOverSpendsNoTime) {
  At(3, CancelRequested{});
  const JobMetrics metrics = meter_.Read(Instant{0} + absl::Seconds(100), job_);
  EXPECT_DOUBLE_EQ(std::accumulate(metrics.seconds_in.begin(), metrics.seconds_in.end(), 0.0), 3.0);
}

TEST_F(JobMeterTest, SkippedStepsAreCountedAsTheyCome) {
  Run(1, 1);
  StepAt(2, 1, 1, 1.0, /*skipped=*/true);
  StepAt(3, 1, 2, 1.0);
  StepAt(4, 1, 3, 1.0, /*skipped=*/true);
  EXPECT_EQ(Events(StabilityEvent::kSkippedStep), 2u);
  EXPECT_EQ(Events(StabilityEvent::kLossSpike), 0u);
}

TEST_F(JobMeterTest, CheckpointsAndTheirFailuresAreCounted) {
  Run(1, 1);
  At(2, Committed(1, 10));
  for (const int rank : {0, 1}) At(3, CheckpointFailed{"jobs/tiny", 1, rank, 20, "disk full"});
  const JobMetrics metrics = meter_.Read(now_, job_);
  EXPECT_EQ(metrics.checkpoints, 1u);
  EXPECT_EQ(metrics.failed_checkpoints, 1u);
  EXPECT_EQ(metrics.last_checkpoint_step, 10);
  EXPECT_EQ(metrics.last_checkpoint_time, absl::FromUnixSeconds(1002));
}

TEST(SinkhornResidual, IsTheWorstDistanceFromOneOfAnySubLayer) {
  GainReport gain;
  gain.single_forward_by_sublayer = {1.0, 1.0625};
  gain.single_backward_by_sublayer = {1.25, 0.5};
  EXPECT_DOUBLE_EQ(SinkhornResidual(gain), 0.5);
  gain.single_forward_by_sublayer[0] = kNan;
  EXPECT_FALSE(std::isfinite(SinkhornResidual(gain)));
  EXPECT_EQ(SinkhornResidual({}), 0.0);
}

class SpikeWatchTest : public ::testing::Test {
 protected:
  // `count` values of a curve that falls as losses do, with a little noise.
  void Fall(int count) {
    for (int i = 0; i < count; ++i, ++step_) EXPECT_FALSE(watch_.Add(Loss())) << step_;
  }
  double Loss() const { return 2.0 + 4.0 * std::exp(-0.01 * step_) + 0.02 * std::sin(step_); }

  SpikeWatch watch_{kLossSpike};
  int step_ = 0;
};

TEST_F(SpikeWatchTest, OneStepThatStandsOutIsASpikeAndTheNextIsNot) {
  Fall(200);
  EXPECT_TRUE(watch_.Add(2.0 * Loss()));
  EXPECT_FALSE(watch_.Add(Loss()));
  EXPECT_TRUE(watch_.Add(2.0 * Loss())) << "the first has not hidden the second";
}

TEST_F(SpikeWatchTest, ALongFallHasNone) { Fall(2000); }

TEST_F(SpikeWatchTest, TheFirstValuesAreNever) {
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(watch_.Add(i % 2 == 0 ? 1.0 : 100.0));
}

TEST_F(SpikeWatchTest, ANewLevelBecomesTheNorm) {
  Fall(200);
  int spikes = 0;
  for (int i = 0; i < 300; ++i) spikes += watch_.Add(6.0) ? 1 : 0;
  EXPECT_GT(spikes, 0);
  EXPECT_LT(spikes, 100);
  EXPECT_FALSE(watch_.Add(6.0));
}

TEST_F(SpikeWatchTest, WhatIsNotFiniteIsNoSpikeAndMovesNothing) {
  Fall(200);
  EXPECT_FALSE(watch_.Add(kNan));
  EXPECT_FALSE(watch_.Add(std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(watch_.Add(2.0 * Loss()));
}

}  // namespace
}  // namespace birkhoff
