// A plan for people: what `birkhoff plan` prints.
#pragma once

#include <string>

#include "core/plan/plan.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Partition (stage, ranks, units, parameters), memory of each worker by kind, predicted step time
// and idle share, and the grid with its legend.  Needs a checked plan of `spec`.
std::string DescribePlan(const Plan& plan, const JobSpec& spec);

}  // namespace birkhoff
