// Errors over the wire: code, message and every field violation come through.
#include "core/net/status.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Status, CarriesEveryViolationOverTheWire) {
  const absl::Status sent =
      BadRequest({{"model.residual.streams", "9", "1 to 8", "did you mean 8?"},
                  {"training.steps", "-1", "1 or more", ""}});
  const absl::Status received = FromGrpc(ToGrpc(sent));
  EXPECT_EQ(received.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(received.message(), sent.message());
  EXPECT_EQ(ViolationsOf(received), ViolationsOf(sent));
  EXPECT_THAT(ViolationsOf(received),
              ElementsAre(FieldViolation{"model.residual.streams",
                                         "9 is not allowed; need 1 to 8 (did you mean 8?)"},
                          FieldViolation{"training.steps", "-1 is not allowed; need 1 or more"}));
}

TEST(Status, IsOkWithoutProblems) {
  EXPECT_TRUE(BadRequest({}).ok());
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
}

TEST(Status, KeepsEveryCodeAndItsMessage) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status sent(static_cast<absl::StatusCode>(code), "what was given; what is needed");
    const absl::Status received = FromGrpc(ToGrpc(sent));
    EXPECT_EQ(received.code(), sent.code());
    EXPECT_EQ(received.message(), sent.message());
    EXPECT_THAT(ViolationsOf(received), IsEmpty());
  }
}

TEST(Status, HasExactlyOneErrorInfoHoweverOftenItTravels) {
  const absl::Status once = FromGrpc(ToGrpc(absl::NotFoundError("there is no job jobs/a")));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ToGrpc(once).error_details()));
  EXPECT_EQ(details.code(), 5);
  EXPECT_EQ(details.message(), "there is no job jobs/a");
  ASSERT_EQ(details.details_size(), 1);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "NOT_FOUND");
  EXPECT_EQ(info.domain(), "birkhoff");
}

TEST(Status, TakesAForeignErrorWithoutItsDetails) {
  const absl::Status received =
      FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, "no route", "\xff not details"));
  EXPECT_EQ(received.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(received.message(), "no route");
}

}  // namespace
}  // namespace birkhoff
