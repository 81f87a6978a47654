// The tables of a plan that stand before any program: stages, channels, parameters, buckets.
#pragma once

#include <vector>

#include "core/plan/plan.h"
#include "core/spec/footprint.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// What the layout of a stage follows from.
LayoutRequest RequestOf(const JobSpec& spec, const Plan& plan, int stage);
// The memory of every stage, from plan.stages and plan.recompute_block.
std::vector<StageLayout> MakeLayouts(const JobSpec& spec, const Plan& plan);

// Directed channels between neighbours that do not share a rank, by (source, destination, kind),
// from plan.stages, plan.tokens_per_microbatch and plan.precision.
std::vector<Channel> MakeChannels(const ModelSpec& model, const Plan& plan);

// What a channel of this kind carries.
std::vector<MessagePart> PartsOf(ChannelKind kind, const ModelSpec& model, const Plan& plan);

// Fills parameters and buckets from plan->stages and plan->precision.  Parameters come in unit
// order, each logical one once.  Those used by the same stages share a bucket; buckets of later
// stages come first, because their last gradients do.
void MakeParameterTable(const ModelSpec& model, Plan* plan);

// Bytes of a message: its parts, each padded.
int64_t MessageBytes(const std::vector<MessagePart>& parts);
// Fills in the offsets of parts that have their bytes: back to back, each padded.
void PlaceParts(std::vector<MessagePart>* parts);

}  // namespace birkhoff
