// The two tables, over all values.
#include "core/base/exit_status.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <new>
#include <stdexcept>
#include <system_error>

namespace birkhoff {
namespace {

TEST(ExitStatus, EveryStatusHasItsExitCode) {
  using Code = absl::StatusCode;
  const std::map<Code, int> codes = {
      {Code::kOk, 0},
      {Code::kCancelled, 71},
      {Code::kUnknown, 70},
      {Code::kInvalidArgument, 64},
      {Code::kDeadlineExceeded, 71},
      {Code::kNotFound, 64},
      {Code::kAlreadyExists, 64},
      {Code::kPermissionDenied, 71},
      {Code::kResourceExhausted, 71},
      {Code::kFailedPrecondition, 64},
      {Code::kAborted, 72},
      {Code::kOutOfRange, 64},
      {Code::kUnimplemented, 64},
      {Code::kInternal, 70},
      {Code::kUnavailable, 71},
      {Code::kDataLoss, 64},
      {Code::kUnauthenticated, 71},
  };
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<Code>(code), "x");
    ASSERT_TRUE(codes.contains(status.code())) << code;
    EXPECT_EQ(static_cast<int>(ExitCodeOf(status)), codes.at(status.code())) << status;
  }
}

TEST(ExitStatus, AStatusMayCarryAnother) {
  const absl::Status numerics =
      WithExitCode(absl::OutOfRangeError("not finite"), ExitCode::kNumerics);
  EXPECT_EQ(ExitCodeOf(numerics), ExitCode::kNumerics);
  EXPECT_EQ(numerics.code(), absl::StatusCode::kOutOfRange);
}

TEST(ExitStatus, OtherWordsKeepWhatAStatusCarries) {
  const absl::Status numerics =
      Reworded(WithExitCode(absl::OutOfRangeError("x"), ExitCode::kNumerics), "rank 1: x");
  EXPECT_EQ(ExitCodeOf(numerics), ExitCode::kNumerics);
  EXPECT_EQ(numerics.message(), "rank 1: x");
  EXPECT_TRUE(Reworded(absl::OkStatus(), "nothing").ok());
}

// Only what a correct program cannot provoke is a bug; nothing of the world's is a bad spec but the
// path itself.
TEST(ExitStatus, EveryErrnoHasItsPlace) {
  for (int error = 1; error < 200; ++error) {
    const ExitCode code = ExitCodeOf(absl::Status(CodeOfErrno(error), "x"));
    const bool bug = error == EBADF || error == EFAULT || error == EINVAL || error == ENOTTY ||
                     error == ENOTSOCK || error == ENOSYS || error == ECHILD || error == EDOM ||
                     error == ERANGE;
    const bool path = error == ENOENT || error == ENOTDIR || error == EEXIST ||
                      error == ENOTEMPTY || error == EISDIR || error == ELOOP ||
                      error == ENAMETOOLONG || error == ESPIPE || error == EXDEV;
    const ExitCode want = bug    ? ExitCode::kInternal
                          : path ? ExitCode::kBadSpec
                                 : ExitCode::kInfrastructure;
    EXPECT_EQ(code, want) << error;
  }
  EXPECT_EQ(CodeOfErrno(0), absl::StatusCode::kOk);
  EXPECT_EQ(CodeOfErrno(EMFILE), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(CodeOfErrno(EIO), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOfErrno(ESTALE), absl::StatusCode::kUnavailable);
  EXPECT_EQ(CodeOfErrno(EACCES), absl::StatusCode::kPermissionDenied);
}

TEST(ExitStatus, WhatAProgramThrowsIsItsExitCode) {
  EXPECT_EQ(RunMain(
                "p", [](int, char**) { return 3; }, 0, nullptr),
            3);
  EXPECT_EQ(RunMain(
                "p", [](int, char**) -> int { throw std::bad_alloc(); }, 0, nullptr),
            71);
  EXPECT_EQ(RunMain(
                "p",
                [](int, char**) -> int {
                  throw std::system_error(EAGAIN, std::generic_category());  // as std::thread does
                },
                0, nullptr),
            71);
  EXPECT_EQ(RunMain(
                "p", [](int, char**) -> int { throw std::logic_error("x"); }, 0, nullptr),
            70);
}

}  // namespace
}  // namespace birkhoff
