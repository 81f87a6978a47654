// A client of grpc.health.v1 without its messages.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "birkhoff/v1/job_service.grpc.pb.h"
#include "core/net/channel.h"

namespace birkhoff {

inline constexpr char kServing[] = "\x08\x01";
inline constexpr char kNotServing[] = "\x08\x02";

// The answer to grpc.health.v1.Health/Check for a service ("": the whole server), as bytes: field 1
// is the state.  NOT_FOUND: no such service.
inline absl::StatusOr<std::string> CheckHealth(const std::string& address,
                                               const std::string& service = "") {
  grpc::TemplatedGenericStub<v1::GetJobRequest, v1::GetVersionResponse> stub(NewChannel(address));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
  grpc::CompletionQueue queue;
  // Field 1 of the request is a string in both, and field 1 of the answer is unknown here.
  v1::GetJobRequest request;
  request.set_name(service);
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  v1::GetVersionResponse response;
  grpc::Status status;
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) return absl::NotFoundError(service);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  return response.SerializeAsString();
}

}  // namespace birkhoff
