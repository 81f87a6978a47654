// The timeline of a plan under its estimated times.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "core/plan/replay.h"

namespace birkhoff {

struct Simulation {
  int64_t makespan_ns = 0;  // first load to the end of everything
  // Of the ranks' time between the first load and the end of agree: the share without compute.
  double idle_share = 0.0;
  Replay replay;
};

// FAILED_PRECONDITION where the program hangs.  Needs what ReplayProgram needs.
absl::StatusOr<Simulation> SimulateTrain(const Plan& plan);

}  // namespace birkhoff
