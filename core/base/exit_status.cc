// Two switches.  A code that a status carries itself is one of its payloads; Reworded copies these.
#include "core/base/exit_status.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/guarded.h"

namespace birkhoff {
namespace {

constexpr char kExitCode[] = "birkhoff/exit-code";

}  // namespace

absl::StatusCode CodeOfErrno(int error) {
  switch (error) {
    case 0:
      return absl::StatusCode::kOk;
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return absl::StatusCode::kAlreadyExists;
    case EISDIR:  // the path that somebody gave
    case ELOOP:
    case ENAMETOOLONG:
    case ESPIPE:
    case EXDEV:
      return absl::StatusCode::kInvalidArgument;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
      return absl::StatusCode::kResourceExhausted;
    case ETIMEDOUT:
      return absl::StatusCode::kDeadlineExceeded;
    case EBADF:
    case EFAULT:
    case EINVAL:
    case ENOTTY:
    case ENOTSOCK:
    case ENOSYS:
    case ECHILD:
    case EDOM:
    case ERANGE:
      return absl::StatusCode::kInternal;
    default:  // a disk, a network, a peer: EIO, ESTALE, ECONNRESET, ...
      return absl::StatusCode::kUnavailable;
  }
}

ExitCode ExitCodeOf(const absl::Status& status) {
  int carried = 0;
  if (const auto code = status.GetPayload(kExitCode);
      code.has_value() && absl::SimpleAtoi(std::string(*code), &carried)) {
    return static_cast<ExitCode>(carried);
  }
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kUnimplemented:
      return ExitCode::kBadSpec;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kCancelled:
      return ExitCode::kInfrastructure;
    case absl::StatusCode::kAborted:
      return ExitCode::kFenced;
    default:
      return ExitCode::kInternal;
  }
}

absl::Status WithExitCode(absl::Status status, ExitCode code) {
  status.SetPayload(kExitCode, absl::Cord(absl::StrCat(static_cast<int>(code))));
  return status;
}

namespace {

// A file that is too large is an error like others, not the end of the process (`ulimit -f`).  And
// no file may get the number of a standard stream that was closed before: what is printed would be
// written into it.  These ones cannot be written, so that whoever prints finds out.
void PrepareProcess() {
  ::signal(SIGXFSZ, SIG_IGN);
  for (int fd = ::open("/dev/null", O_RDONLY); fd >= 0; fd = ::open("/dev/null", O_RDONLY)) {
    if (fd <= STDERR_FILENO) continue;
    ::close(fd);
    return;
  }
}

}  // namespace

absl::Status Reworded(const absl::Status& status, absl::string_view message) {
  absl::Status reworded(status.code(), message);
  status.ForEachPayload([&reworded](absl::string_view key, const absl::Cord& payload) {
    reworded.SetPayload(key, payload);
  });
  return reworded;
}

int RunMain(const char* program, int (*run)(int, char**), int argc, char** argv) noexcept {
  PrepareProcess();
  try {
    return run(argc, argv);
  } catch (...) {
    const absl::Status status = StatusOfException(program);
    const absl::string_view text = status.message();
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
    return static_cast<int>(ExitCodeOf(status));
  }
}

}  // namespace birkhoff
