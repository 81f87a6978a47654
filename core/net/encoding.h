// Structs to bytes and back, in the words of proto/birkhoff/v1, without naming a generated type:
// for the store, and for the pipe between a supervisor and its rank.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"
#include "core/protocol/messages.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Decoding: INVALID_ARGUMENT where bytes are no such message or an enum number is unknown.
std::string EncodeJobSpec(const JobSpec& spec);
absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view bytes);
std::string EncodePlan(const Plan& plan);
absl::StatusOr<Plan> DecodePlan(std::string_view bytes);
std::string EncodeWorkerMessage(const WorkerMessage& message);
absl::StatusOr<WorkerMessage> DecodeWorkerMessage(std::string_view bytes);
std::string EncodeCoordinatorMessage(const CoordinatorMessage& message);
absl::StatusOr<CoordinatorMessage> DecodeCoordinatorMessage(std::string_view bytes);

}  // namespace birkhoff
