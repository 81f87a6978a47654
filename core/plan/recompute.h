// How long recompute blocks may be where parallelism.recompute is auto.
#pragma once

#include <vector>

#include "core/plan/plan.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// The block length that costs least memory by the usual estimate, sqrt(nL / (n + 2)) with L the
// sub-layers in flight on the fullest rank, then its neighbours on both sides, nearest first; a
// block of more sub-layers than any stage has is left out.  Fewer where plans are so large that
// trying all would take longer than planning may (core/spec/plan_size.h); the estimate always.
// `stored`: the plan that recomputes nothing, with its buffers.
std::vector<int> RecomputeBlocksToTry(const JobSpec& spec, const Plan& stored);

}  // namespace birkhoff
