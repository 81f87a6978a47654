#include "core/net/status.h"

#include <grpcpp/support/status.h>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace birkhoff {
namespace {

constexpr char kTypePrefix[] = "type.googleapis.com/";
constexpr char kErrorInfo[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kBadRequest[] = "type.googleapis.com/google.rpc.BadRequest";
constexpr char kDomain[] = "birkhoff";

std::string Describe(const Problem& problem) {
  std::string text = ProblemToString(problem);
  const std::string prefix = absl::StrCat(problem.field, ": ");
  return std::string(absl::StripPrefix(text, prefix));
}

}  // namespace

absl::Status BadRequest(const std::vector<Problem>& problems) {
  absl::Status status = ProblemsToStatus(problems);
  if (status.ok()) return status;
  google::rpc::BadRequest details;
  for (const Problem& problem : problems) {
    google::rpc::BadRequest::FieldViolation* violation = details.add_field_violations();
    violation->set_field(problem.field);
    violation->set_description(Describe(problem));
  }
  status.SetPayload(kBadRequest, absl::Cord(details.SerializeAsString()));
  return status;
}

std::vector<FieldViolation> ViolationsOf(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  google::rpc::BadRequest details;
  const auto payload = status.GetPayload(kBadRequest);
  if (!payload.has_value() || !details.ParseFromString(std::string(*payload))) return violations;
  for (const auto& violation : details.field_violations()) {
    violations.push_back({violation.field(), violation.description()});
  }
  return violations;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(std::string(status.message()));
  google::rpc::ErrorInfo info;
  info.set_reason(absl::StatusCodeToString(status.code()));
  info.set_domain(kDomain);
  if (!status.GetPayload(kErrorInfo).has_value()) details.add_details()->PackFrom(info);
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    google::protobuf::Any* any = details.add_details();
    any->set_type_url(std::string(type));
    any->set_value(std::string(payload));
  });
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      details.SerializeAsString());
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return result;
  for (const google::protobuf::Any& any : details.details()) {
    if (absl::StartsWith(any.type_url(), kTypePrefix)) {
      result.SetPayload(any.type_url(), absl::Cord(any.value()));
    }
  }
  return result;
}

}  // namespace birkhoff
