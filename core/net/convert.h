// Generated messages to the structs of core/ and back.  Every field of a struct is written; an
// absent field of a message leaves the struct's default.
//
// Errors of FromProto: INVALID_ARGUMENT an enum number is unknown, or a message is empty.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "birkhoff/v1/job.pb.h"
#include "birkhoff/v1/plan.pb.h"
#include "birkhoff/v1/worker_service.pb.h"
#include "core/plan/plan.h"
#include "core/protocol/messages.h"
#include "core/protocol/step_report.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

void ToProto(const JobSpec& spec, v1::JobSpec* out);
absl::StatusOr<JobSpec> FromProto(const v1::JobSpec& in);

void ToProto(const StepReport& report, v1::StepReport* out);
StepReport FromProto(const v1::StepReport& in);

void ToProto(const Plan& plan, v1::Plan* out);
absl::StatusOr<Plan> FromProto(const v1::Plan& in);

void ToProto(const WorkerMessage& message, v1::ConnectRequest* out);
absl::StatusOr<WorkerMessage> FromProto(const v1::ConnectRequest& in);

void ToProto(const CoordinatorMessage& message, v1::ConnectResponse* out);
absl::StatusOr<CoordinatorMessage> FromProto(const v1::ConnectResponse& in);

void ToProto(absl::Time time, google::protobuf::Timestamp* out);
absl::Time FromProto(const google::protobuf::Timestamp& in);

// Exit codes of the contract; any other number is kInternal.
ExitCode ExitCodeFromNumber(int number);

}  // namespace birkhoff
