// Runs a plan for a few steps with ranks as threads, the local transport and a real model, and
// returns what it computed: the judge of whether two plans are the same training.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// One number per step.  Gradient norms count each logical parameter once.
struct PlanRun {
  std::vector<double> losses;
  std::vector<double> gradient_norms;
  double evaluation_loss = 0.0;  // after the last step; 0 without an evaluate program
};

// Weights start at a random point where no gradient vanishes, samples depend on their number alone,
// and the optimizer is w -= 0.0005 g.  Freed buffers are filled with NaN and messages are stamped,
// so that a wrong plan shows.  Errors: the first of any rank.
absl::StatusOr<PlanRun> RunPlan(const Plan& plan, const JobSpec& spec, int steps);

// The same training on one rank with one replica.
absl::StatusOr<PlanRun> RunUnpipelined(const JobSpec& spec, int steps);

// Empty, or how `run` differs from `reference` by more than 1e-5 relative: every loss, and the
// gradient norm of the first step (at a random point later norms amplify rounding a thousandfold).
std::string Difference(const PlanRun& run, const PlanRun& reference);

}  // namespace birkhoff
