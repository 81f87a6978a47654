// Programs as rows of short words, one row per rank: f0 B3 [F4+b0] i2 w2.
//
//   f/F forward   b/B backward   i/I backward-input   w/W backward-weight   r/R recompute
//   Everything else is left out.  Lower case: chunk A (dualpipev), direction 0 (dualpipe),
//   all of 1f1b; upper case: chunk Z, direction 1.  Micro-batches are counted within a direction.
#pragma once

#include <string>
#include <vector>

#include "core/plan/plan.h"
#include "core/plan/schedule.h"

namespace birkhoff {

// "f0", or empty for what the grid leaves out.
std::string GridWord(const Plan& plan, const Instruction& instruction, int microbatches);

// A row per rank with one '.' for each idle unit of time, where a forward, an input gradient and a
// weight gradient take one unit each.  `atomic` as in TimelineCosts: outputs leave with the end of
// a pair, or as early as they can.
std::string ScheduleGrid(const Schedule& schedule, bool atomic);

}  // namespace birkhoff
