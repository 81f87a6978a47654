// The ETA of runs whose end is known, from step 10 on.
#include "cli/time_left.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/rng.h"

namespace birkhoff {
namespace {

// What a run's parts take, in seconds.
struct Costs {
  double step = 1.0;
  double noise = 0.0;       // share of a step, up and down
  double first_step = 1.0;  // times as long
  double validation = 0.0;
  double checkpoint = 0.0;
};

JobSpec Spec(int64_t steps, int validation_interval, int checkpoint_interval) {
  JobSpec spec;
  spec.training.steps = steps;
  spec.training.validation_interval = validation_interval;
  spec.training.validation_batches = 8;
  spec.training.micro_batch_size = 2;
  spec.training.global_batch_size = 16;
  spec.checkpoint.interval = checkpoint_interval;
  return spec;
}

// When each step's report comes.
std::vector<double> Reports(const JobSpec& spec, const Costs& costs,
                            std::vector<StepReport>* reports) {
  Rng rng(7);
  std::vector<double> times;
  double now = 100.0;
  for (int64_t step = 1; step <= spec.training.steps; ++step) {
    StepReport& report = reports->emplace_back();
    report.step = step;
    const double wobble = 1.0 + costs.noise * (2.0 * rng.Uniform() - 1.0);
    report.step_seconds = costs.step * wobble * (step == 1 ? costs.first_step : 1.0);
    now += report.step_seconds;
    if (step % spec.training.validation_interval == 0 || step == spec.training.steps) {
      report.validation_loss = 2.0;
      now += costs.validation;
    }
    times.push_back(now);
    if (step % spec.checkpoint.interval == 0) now += costs.checkpoint;
  }
  return times;
}

// The largest error of the ETA, as a share of what was really left, between two steps.
double WorstError(const JobSpec& spec, const Costs& costs, int64_t from, int64_t to) {
  std::vector<StepReport> reports;
  const std::vector<double> times = Reports(spec, costs, &reports);
  TimeLeft left(spec);
  double worst = 0.0;
  for (size_t i = 0; i < reports.size(); ++i) {
    left.Step(reports[i], absl::UnixEpoch() + absl::Seconds(times[i]));
    if (reports[i].step < from || reports[i].step > to) continue;
    const double truth = times.back() - times[i];
    worst = std::max(worst, std::abs(absl::ToDoubleSeconds(left.Left()) - truth) / truth);
  }
  return worst;
}

TEST(TimeLeftTest, IsWithin20PercentFromStep10On) {
  // As configs/tiny.yaml: a validation is a third of a step.
  const Costs costs = {0.2, 0.3, 4.0, 0.07, 0.05};
  EXPECT_LT(WorstError(Spec(300, 50, 50), costs, 10, 290), 0.2);
}

TEST(TimeLeftTest, CountsValidationsBeforeTheFirstOne) {
  JobSpec spec = Spec(1000, 20, 1000);
  spec.training.validation_batches = 80;  // 160 sequences forward: 10 x 1/3 of a step
  EXPECT_LT(WorstError(spec, {1.0, 0.1, 2.0, 3.4, 0.0}, 10, 900), 0.2);
}

TEST(TimeLeftTest, CountsValidationsAndCheckpointsOnceSeen) {
  // Both take as long as ten steps: together as long as the training.
  const Costs costs = {1.0, 0.1, 3.0, 10.0, 10.0};
  EXPECT_LT(WorstError(Spec(400, 20, 20), costs, 21, 380), 0.2);
}

TEST(TimeLeftTest, ARestartIsNoStepAndNoCheckpoint) {
  TimeLeft left(Spec(100, 0, 10));
  absl::Time now = absl::UnixEpoch();
  StepReport report;
  report.step_seconds = 1.0;
  const auto step = [&](int64_t number, double seconds) {
    report.step = number;
    now += absl::Seconds(seconds);
    left.Step(report, now);
  };
  for (int64_t i = 1; i <= 25; ++i) step(i, 1.0);
  step(21, 500.0);  // lost five steps and half a day's patience
  for (int64_t i = 22; i <= 40; ++i) step(i, 1.0);
  EXPECT_NEAR(absl::ToDoubleSeconds(left.Left()), 60.0, 1e-9);
}

TEST(TimeLeftTest, IsZeroAtTheEndAndBeforeAnythingIsKnown) {
  TimeLeft left(Spec(2, 0, 10));
  EXPECT_EQ(left.Left(), absl::ZeroDuration());
  StepReport report;
  for (report.step = 1; report.step <= 2; ++report.step) {
    left.Step(report, absl::UnixEpoch() + absl::Seconds(report.step));
  }
  EXPECT_EQ(left.Left(), absl::ZeroDuration());
}

}  // namespace
}  // namespace birkhoff
