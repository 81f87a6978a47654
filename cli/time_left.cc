// Reports come after a step and its validation; a checkpoint is written between its step's report
// and the next.  So the time from one report to the next belongs to a step, and to one of the two
// at most.
#include "cli/time_left.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace birkhoff {
namespace {

constexpr size_t kPlainSamples = 50, kRareSamples = 9;
// Operations of a forward pass of those of a whole step.
constexpr double kForwardShare = 1.0 / 3.0;

void Keep(double sample, size_t most, std::deque<double>* samples) {
  samples->push_back(sample);
  if (samples->size() > most) samples->pop_front();
}

double Mean(const std::deque<double>& samples) {
  return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

// One of them may hold a restart.
double Median(const std::deque<double>& samples) {
  std::vector<double> sorted(samples.begin(), samples.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

}  // namespace

TimeLeft::TimeLeft(const JobSpec& spec)
    : steps_(spec.training.steps),
      validation_interval_(spec.training.validation_interval),
      checkpoint_interval_(spec.checkpoint.interval),
      validation_in_steps_(kForwardShare * spec.training.validation_batches *
                           spec.training.micro_batch_size /
                           std::max(spec.training.global_batch_size, 1)) {}

bool TimeLeft::CheckpointAfter(int64_t step) const {
  return checkpoint_interval_ > 0 && step % checkpoint_interval_ == 0;
}

int64_t TimeLeft::ValidationsUpTo(int64_t step) const {
  if (validation_interval_ == 0) return 0;
  const bool last = step >= steps_ && step % validation_interval_ != 0;
  return step / validation_interval_ + (last ? 1 : 0);
}

// The last one is written when the last step is done.
int64_t TimeLeft::CheckpointsUpTo(int64_t step) const {
  return checkpoint_interval_ == 0 ? 0 : std::min(step, steps_ - 1) / checkpoint_interval_;
}

void TimeLeft::Step(const StepReport& report, absl::Time now) {
  const double seconds = absl::ToDoubleSeconds(now - last_time_);
  if (last_step_ > 0 && report.step == last_step_ + 1) {
    const double plain = plain_.empty() ? report.step_seconds : Mean(plain_);
    if (report.validation_loss) {
      Keep(std::max(0.0, seconds - plain), kRareSamples, &validation_);
    } else if (CheckpointAfter(last_step_)) {
      Keep(std::max(0.0, seconds - plain), kRareSamples, &checkpoint_);
    } else {
      Keep(std::max(0.0, seconds), kPlainSamples, &plain_);
    }
  }
  last_step_ = report.step;
  last_time_ = now;
}

absl::Duration TimeLeft::Left() const {
  if (plain_.empty() || last_step_ >= steps_) return absl::ZeroDuration();
  const double plain = Mean(plain_);
  const double validation =
      validation_.empty() ? plain * validation_in_steps_ : Median(validation_);
  const double checkpoint = checkpoint_.empty() ? 0.0 : Median(checkpoint_);
  const auto count = [](int64_t all, int64_t done) { return static_cast<double>(all - done); };
  // That of the last step seen is written now.
  const int64_t written = CheckpointsUpTo(last_step_ - 1);
  return absl::Seconds(count(steps_, last_step_) * plain +
                       count(ValidationsUpTo(steps_), ValidationsUpTo(last_step_)) * validation +
                       count(CheckpointsUpTo(steps_), written) * checkpoint);
}

}  // namespace birkhoff
