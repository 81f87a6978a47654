// From what went wrong to a status, and from a status to the code that a program ends with: one
// table each, for all programs.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/base/exit_code.h"

namespace birkhoff {

// What the operating system's error means for whoever asked.  The world's errors (a disk, a
// network, limits) are never INTERNAL: only what a correct program cannot provoke is.
absl::StatusCode CodeOfErrno(int error);

// The exit code of a program that ends with this status: the one that it carries, or else that of
// its code:
//    0  OK
//   64  INVALID_ARGUMENT NOT_FOUND ALREADY_EXISTS FAILED_PRECONDITION OUT_OF_RANGE DATA_LOSS
//       UNIMPLEMENTED
//   70  INTERNAL UNKNOWN
//   71  UNAVAILABLE DEADLINE_EXCEEDED RESOURCE_EXHAUSTED PERMISSION_DENIED UNAUTHENTICATED
//       CANCELLED
//   72  ABORTED
ExitCode ExitCodeOf(const absl::Status& status);

// The same status, that ends a program with `code` whatever its own code says.
absl::Status WithExitCode(absl::Status status, ExitCode code);

// The same status in other words, with all that it carries; OK stays OK.
absl::Status Reworded(const absl::Status& status, absl::string_view message);

// Runs a program; what it throws is told on stderr and becomes its exit code.  Before: signals and
// standard streams are such that a full quota or a closed stream is an error, and no more.
int RunMain(const char* program, int (*run)(int, char**), int argc, char** argv) noexcept;

}  // namespace birkhoff
