// How large a plan may become that an accepted spec leads to: what the coordinator would have to
// compute, keep and send.  Estimates from above, from the spec alone.
#pragma once

#include <cstdint>
#include <vector>

#include "core/spec/job_spec.h"
#include "core/spec/problem.h"

namespace birkhoff {

// Planning takes about 2 us and 300 bytes an instruction: within a second and 512 MiB on one core.
inline constexpr int64_t kMostInstructions = 300'000;
inline constexpr int64_t kMostEvaluationInstructions = kMostInstructions / 4;
// What all stages together keep of one micro-batch.  With it all sizes of a plan stay within 64
// bits, and no machine has as much.
inline constexpr double kMostMicrobatchBytes = 0x1p47;

// Instructions of the training program of all ranks of a replica, recompute included; of the
// evaluation.  Needs a spec whose fields are within their ranges.
int64_t EstimateInstructions(const JobSpec& spec);
int64_t EstimateEvaluationInstructions(const JobSpec& spec);
double EstimateMicrobatchBytes(const JobSpec& spec);

// Problems with the field to change and the nearest legal value.  Needs a spec that is valid but
// for its size.
std::vector<Problem> CheckPlanSize(const JobSpec& spec);

}  // namespace birkhoff
