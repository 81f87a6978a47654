// Cuts the row of units into stages.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "core/spec/footprint.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Contiguous, non-empty ranges of units, one per stage of `kind` on `ranks` ranks.  Minimises the
// dearest rank (in a V or an X a rank pays for both its stages), then the sum of the squared stage
// costs, so that the stages of a rank are alike too.  Ties go to the earliest cut: same input, same
// cut.
//
// Errors: INVALID_ARGUMENT there are fewer units than stages, with the remedy.
absl::StatusOr<std::vector<UnitRange>> PartitionUnits(const std::vector<int64_t>& unit_costs,
                                                      ScheduleKind kind, int ranks);

}  // namespace birkhoff
