// Whether a spec can run: every rule, every problem at once.
#pragma once

#include <vector>

#include "core/base/disk.h"
#include "core/spec/job_spec.h"
#include "core/spec/problem.h"

namespace birkhoff {

// Rules that need nothing but the spec.
std::vector<Problem> ValidateJobSpec(const JobSpec& spec);

}  // namespace birkhoff
