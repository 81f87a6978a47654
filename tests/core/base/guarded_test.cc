// What comes out of work that throws: a status with the name of the work and a code that fits.
#include "core/base/guarded.h"

#include <cerrno>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace birkhoff {
namespace {

template <typename Exception>
absl::Status Thrown(Exception exception) {
  return Guarded("planning", [&]() -> absl::Status { throw exception; });
}

TEST(Guarded, GivesBackWhatTheWorkReturns) {
  EXPECT_TRUE(Guarded("work", [] { return absl::OkStatus(); }).ok());
  const absl::Status own = Guarded("work", [] { return absl::NotFoundError("its own word"); });
  EXPECT_EQ(own, absl::NotFoundError("its own word"));
  const absl::StatusOr<int> value = Guarded("work", []() -> absl::StatusOr<int> { return 7; });
  EXPECT_EQ(*value, 7);
  const absl::StatusOr<int> thrown =
      Guarded("work", []() -> absl::StatusOr<int> { throw std::bad_alloc(); });
  EXPECT_EQ(thrown.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(Guarded, SaysThatMemoryRanOut) {
  EXPECT_EQ(Thrown(std::bad_alloc()),
            absl::ResourceExhaustedError("planning: there is no more memory"));
  EXPECT_EQ(Thrown(std::bad_array_new_length()).code(), absl::StatusCode::kResourceExhausted);
}

TEST(Guarded, TakesTheCodeOfAnErrno) {
  const auto of_errno = [](int number) {
    return Thrown(std::system_error(number, std::generic_category(), "thread")).code();
  };
  EXPECT_EQ(of_errno(EAGAIN), Thrown(std::system_error(EAGAIN, std::system_category())).code());
  EXPECT_EQ(of_errno(ENOENT), absl::StatusCode::kNotFound);
  EXPECT_EQ(of_errno(EACCES), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(of_errno(0), absl::StatusCode::kInternal) << "thrown, so it is no success";
  // A number of another category means something else there.
  EXPECT_EQ(Thrown(std::system_error(ENOENT, std::iostream_category())).code(),
            absl::StatusCode::kInternal);
}

TEST(Guarded, NamesTheWorkAndTheReason) {
  EXPECT_EQ(Thrown(std::runtime_error("no such luck")),
            absl::InternalError("planning: no such luck"));
  EXPECT_EQ(Thrown(7), absl::InternalError("planning: an unknown exception"));
}

}  // namespace
}  // namespace birkhoff
