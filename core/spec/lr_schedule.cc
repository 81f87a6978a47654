#include "core/spec/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace birkhoff {
namespace {

// 0 at `first`, 1 at `last` and after; 1 where there is nothing between them.
double Progress(int64_t step, int64_t first, int64_t last) {
  if (step >= last) return 1.0;
  if (step <= first) return 0.0;
  return static_cast<double>(step - first) / static_cast<double>(last - first);
}

double WsdRate(const LrScheduleSpec& schedule, double base_lr, int64_t steps, int64_t step) {
  const int64_t decay =
      schedule.decay_steps > 0 ? schedule.decay_steps : std::max<int64_t>(1, steps / 10);
  // The decay's first step already lies one part below the full rate.
  const double t = Progress(step, steps - 1 - decay, steps - 1);
  return std::lerp(base_lr, schedule.min_lr, t);
}

double StepRate(const LrScheduleSpec& schedule, double base_lr, int64_t steps, int64_t step) {
  double factor = 1.0;
  const size_t count = std::min(schedule.step_at.size(), schedule.step_factor.size());
  for (size_t i = 0; i < count; ++i) {
    if (static_cast<double>(step) >= schedule.step_at[i] * static_cast<double>(steps)) {
      factor = schedule.step_factor[i];
    }
  }
  return base_lr * factor;
}

}  // namespace

double LearningRate(const LrScheduleSpec& schedule, double base_lr, int64_t steps, int64_t step) {
  const int64_t warmup = schedule.warmup_steps;
  if (step < warmup) {
    return base_lr * static_cast<double>(step + 1) / static_cast<double>(warmup);
  }
  const double t = Progress(step, warmup, steps - 1);
  switch (schedule.kind) {
    case LrScheduleKind::kConstant:
      return base_lr;
    case LrScheduleKind::kLinear:
      return std::lerp(base_lr, schedule.min_lr, t);
    case LrScheduleKind::kCosine:
      return schedule.min_lr +
             (base_lr - schedule.min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * t));
    case LrScheduleKind::kWsd:
      return WsdRate(schedule, base_lr, steps, step);
    case LrScheduleKind::kStep:
      return StepRate(schedule, base_lr, steps, step);
  }
  return base_lr;
}

}  // namespace birkhoff
