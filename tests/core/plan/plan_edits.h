// Random single edits of plans: what a bug in a pass, a bad merge or a flipped bit may do.
#pragma once

#include <string>

#include "core/base/rng.h"
#include "core/plan/plan.h"

namespace birkhoff {

// Changes one thing of one program of `plan`: drops, duplicates, swaps or retargets an instruction.
// A dropped or duplicated instruction shifts the indices in waits, so that all others stay ordered
// as they were; half of the drops also pass on what the instruction waited for.  Returns what was
// done, in words.
std::string EditPlan(Plan& plan, Rng& rng);

}  // namespace birkhoff
