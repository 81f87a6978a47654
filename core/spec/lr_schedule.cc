// A function for each shape that needs one.  The hard one is step: its shares are compared as the
// decimals that were written, in integers.
#include "core/spec/lr_schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "absl/numeric/int128.h"

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

// The smallest step that is at least `share` of the steps, the share taken as the decimal number
// that it was written as: 0.55 of 100 is 55, although the double nearest to 0.55 is above it.
int64_t FirstStepOf(double share, int64_t steps) {
  char text[40];  // d.ddd...e-XX, the shortest that reads back to the same bits
  const auto end = std::to_chars(text, text + sizeof text, share, std::chars_format::scientific);
  // share = digits / 10^power.
  absl::uint128 digits = 0;
  int decimals = -1;  // digits behind the point so far; -1: before it
  const char* at = text;
  for (; at != end.ptr && *at != 'e'; ++at) {
    if (*at == '.') continue;
    digits = 10 * digits + static_cast<unsigned>(*at - '0');
    ++decimals;
  }
  int exponent = 0;
  std::from_chars(at + 1, end.ptr, exponent);
  const int power = decimals - exponent;
  constexpr int kLargestPower = 37;  // beyond it the share is less than one step
  if (power > kLargestPower) return 1;
  // digits x steps / 10^power, rounded up.
  absl::uint128 unit = 1;
  for (int i = 0; i < power; ++i) unit *= 10;
  const absl::uint128 scaled = digits * static_cast<absl::uint128>(steps);
  return static_cast<int64_t>(absl::Uint128Low64((scaled + unit - 1) / unit));
}

double StepRate(const LrScheduleSpec& schedule, double base_lr, int64_t steps, int64_t step) {
  double factor = 1.0;
  const size_t count = std::min(schedule.step_at.size(), schedule.step_factor.size());
  for (size_t i = 0; i < count; ++i) {
    if (step >= FirstStepOf(schedule.step_at[i], steps)) {
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
