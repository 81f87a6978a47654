// absl::Status <-> grpc::Status, with google.rpc error details (AIP-193): ErrorInfo always, and
// BadRequest with every field violation where a request is wrong.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "core/spec/problem.h"

namespace grpc {
class Status;
}

namespace birkhoff {

// One field of a request that is wrong.
struct FieldViolation {
  std::string field;
  std::string description;
  friend bool operator==(const FieldViolation&, const FieldViolation&) = default;
};

// INVALID_ARGUMENT that carries all problems over the wire; OK for none.  Of more than fit into the
// 8 KiB that a client reads, the first, and a violation without a field that counts the others.
absl::Status BadRequest(const std::vector<Problem>& problems);
// The violations that a status carries; empty where there are none.
std::vector<FieldViolation> ViolationsOf(const absl::Status& status);

// Codes and messages are kept (a message beyond 1200 bytes of trailer is cut); payloads travel as
// details, and come back as payloads.  Never throws: the code goes alone where memory is short.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace birkhoff
