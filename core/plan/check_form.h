// Whether an instruction is well formed by itself: the right fields, in range, on the right stream.
#pragma once

#include <string>

#include "core/plan/check_rank.h"
#include "core/plan/plan.h"

namespace birkhoff {

// Empty, or what is wrong with instruction `index` of the program.  Needs checked tables; after
// "" every index in the instruction is in range and its (stage, micro-batch) belongs to the rank.
std::string FormProblem(const Plan& plan, RankProgram which, int index);

}  // namespace birkhoff
