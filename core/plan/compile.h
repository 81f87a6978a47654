// Spec and cluster in, checked plan out.  Pure: the same input gives the same bytes.
#pragma once

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "core/spec/cluster.h"

namespace birkhoff {

// partition -> schedule -> the passes of lower.h -> memory -> check -> simulate.
//
// Errors: INVALID_ARGUMENT the spec cannot be planned (dualpipe with an odd number of ranks, too
// few micro-batches or units, workers of two kinds, bf16 on a CPU), with the remedy;
// FAILED_PRECONDITION the smallest worker's memory does not suffice, other workers' might; INTERNAL
// the checker refuses what the passes made, which is a bug.
absl::StatusOr<Plan> CompilePlan(const JobSpec& spec, const ClusterSpec& cluster);

}  // namespace birkhoff
