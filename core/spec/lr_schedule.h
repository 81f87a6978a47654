// The learning rate of a step, as a pure function of the spec.
#pragma once

#include <cstdint>

#include "core/spec/job_spec.h"

namespace birkhoff {

// The rate of 0-based `step` of `steps`.
//
// Warm-up: step s of W is base_lr (s + 1) / W, so the first step already moves and step W - 1 has
// the full rate.  Afterwards, with t from 0 at step W to 1 at the last step:
//   constant  base_lr
//   linear    base_lr + t (min_lr - base_lr)
//   cosine    min_lr + (base_lr - min_lr) (1 + cos(pi t)) / 2
//   wsd       base_lr, then linear to min_lr over the last decay_steps (0: a tenth of the steps)
//   step      base_lr times the factor of the last share step_at[i] with step >= step_at[i] steps,
//             in exact arithmetic on the decimal numbers of the spec; shares lie between 0 and 1
double LearningRate(const LrScheduleSpec& schedule, double base_lr, int64_t steps, int64_t step);

}  // namespace birkhoff
