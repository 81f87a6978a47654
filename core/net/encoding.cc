// Each pair goes through the generated message.
#include "core/net/encoding.h"

#include "absl/strings/str_cat.h"
#include "core/net/convert.h"

namespace birkhoff {
namespace {

template <typename Proto, typename Struct>
std::string Encode(const Struct& value) {
  Proto proto;
  ToProto(value, &proto);
  return proto.SerializeAsString();
}

template <typename Proto, typename Struct>
absl::StatusOr<Struct> Decode(std::string_view bytes) {
  Proto proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(
        absl::StrCat("these ", bytes.size(), " bytes are no ", Proto::descriptor()->full_name()));
  }
  return FromProto(proto);
}

}  // namespace

std::string EncodeJobSpec(const JobSpec& spec) { return Encode<v1::JobSpec>(spec); }
absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view bytes) {
  return Decode<v1::JobSpec, JobSpec>(bytes);
}
std::string EncodePlan(const Plan& plan) { return Encode<v1::Plan>(plan); }
absl::StatusOr<Plan> DecodePlan(std::string_view bytes) { return Decode<v1::Plan, Plan>(bytes); }
std::string EncodeWorkerMessage(const WorkerMessage& message) {
  return Encode<v1::ConnectRequest>(message);
}
absl::StatusOr<WorkerMessage> DecodeWorkerMessage(std::string_view bytes) {
  return Decode<v1::ConnectRequest, WorkerMessage>(bytes);
}
std::string EncodeCoordinatorMessage(const CoordinatorMessage& message) {
  return Encode<v1::ConnectResponse>(message);
}
absl::StatusOr<CoordinatorMessage> DecodeCoordinatorMessage(std::string_view bytes) {
  return Decode<v1::ConnectResponse, CoordinatorMessage>(bytes);
}

}  // namespace birkhoff
