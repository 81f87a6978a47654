// The hard thing is room: all must fit into what a client takes of trailers, so texts are cut by
// what their bytes cost there, and a list of violations ends with how many are left out.
#include "core/net/status.h"

#include <grpcpp/support/status.h>

#include <exception>

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

// Errors travel in HTTP/2 trailers, and a client takes 8 KiB of them unless told otherwise: what is
// longer arrives as RESOURCE_EXHAUSTED and says nothing.  The message travels twice (the second
// time as base64 within the details), the violations once, as base64.
constexpr size_t kLongestMessage = 1200;
constexpr size_t kLongestViolations = 3000;
constexpr size_t kLongestField = 200;  // of each violation
constexpr size_t kLongestDescription = 400;

// What a byte costs in a trailer: gRPC writes other than printable ASCII as %XX.
size_t TrailerBytes(char c) { return c >= ' ' && c <= '~' && c != '%' ? 1 : 3; }
bool ContinuesCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// The text, or as much of it as `limit` trailer bytes hold and an ellipsis; never half a character.
std::string Shortened(absl::string_view text, size_t limit) {
  constexpr absl::string_view kEllipsis = "...";
  size_t size = 0, fits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (size + kEllipsis.size() <= limit && !ContinuesCharacter(text[i])) fits = i;
    size += TrailerBytes(text[i]);
  }
  if (size <= limit) return std::string(text);
  return absl::StrCat(text.substr(0, fits), kEllipsis);
}

FieldViolation ViolationOf(const Problem& problem) {
  const std::string text = ProblemToString(problem);
  const std::string prefix = absl::StrCat(problem.field, ": ");
  return {Shortened(problem.field, kLongestField),
          Shortened(absl::StripPrefix(text, prefix), kLongestDescription)};
}

constexpr size_t kViolationOverhead = 8;  // tags and lengths

void AddViolation(const FieldViolation& violation, google::rpc::BadRequest* details) {
  google::rpc::BadRequest::FieldViolation* added = details->add_field_violations();
  added->set_field(violation.field);
  added->set_description(violation.description);
}

}  // namespace

absl::Status BadRequest(const std::vector<Problem>& problems) {
  absl::Status status = ProblemsToStatus(problems);
  if (status.ok()) return status;
  google::rpc::BadRequest details;
  size_t size = 0, told = 0;
  for (; told < problems.size(); ++told) {
    const FieldViolation violation = ViolationOf(problems[told]);
    size += violation.field.size() + violation.description.size() + kViolationOverhead;
    if (size > kLongestViolations) break;
    AddViolation(violation, &details);
  }
  if (told < problems.size()) {
    AddViolation({"", absl::StrCat("and ", problems.size() - told, " more")}, &details);
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

namespace {

grpc::Status WithDetails(const absl::Status& status) {
  const std::string message = Shortened(status.message(), kLongestMessage);
  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_reason(absl::StatusCodeToString(status.code()));
  info.set_domain(kDomain);
  if (!status.GetPayload(kErrorInfo).has_value()) details.add_details()->PackFrom(info);
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    google::protobuf::Any* any = details.add_details();
    any->set_type_url(std::string(type));
    any->set_value(std::string(payload));
  });
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  try {
    return WithDetails(status);
  } catch (const std::exception&) {
    return grpc::Status(static_cast<grpc::StatusCode>(status.code()), "");
  }
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
