// The tables of a plan that stand before any program: stages, channels, parameters, buckets.
#pragma once

#include <vector>

#include "core/plan/plan.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

inline constexpr int kPlanElementBytes = 4;  // activations and gradients are fp32

// Micro-batches of the evaluate program: what the spec asks for, rounded up to what the schedule
// can run; 0 without validation.
int EvaluationMicrobatches(const JobSpec& spec);

// The memory of every stage, from plan.stages and plan.recompute_block.
std::vector<StageLayout> MakeLayouts(const JobSpec& spec, const Plan& plan);

// Directed channels between neighbours that do not share a rank, by (source, destination, kind).
std::vector<Channel> MakeChannels(const std::vector<Stage>& stages, int64_t activation_bytes,
                                  int64_t gradient_bytes);

// Fills parameters, buckets and the ranks' parameter_bytes from plan->stages and plan->ranks.
// Parameters come in unit order, each logical one once.  Those used by the same stages share a
// bucket; buckets of later stages come first, because their last gradients do.
void MakeParameterTable(const ModelSpec& model, Plan* plan);

// Bytes of a message: its parts, each padded.
int64_t MessageBytes(const std::vector<MessagePart>& parts);

}  // namespace birkhoff
