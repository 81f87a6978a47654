// The parts of the proof that need no program: tables against spec and model, and the memory of
// each rank.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "core/plan/plan.h"
#include "core/spec/footprint.h"

namespace birkhoff {

// Counts, stages, channels, parameters, buckets.  After OK every index in the tables is in range
// and layouts can be made.
absl::Status CheckTables(const Plan& plan, const JobSpec& spec);

// Homes, stages and sizes of all buffers.
absl::Status CheckBuffers(const Plan& plan, const std::vector<StageLayout>& layouts);

// The memory lists, item by item.  Needs checked tables and buffers.
absl::Status CheckMemory(const Plan& plan, const ModelSpec& model,
                         const std::vector<StageLayout>& layouts);

}  // namespace birkhoff
