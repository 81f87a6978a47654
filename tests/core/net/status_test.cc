#include "core/net/status.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace birkhoff {
namespace {

TEST(Status, EveryCodeAndMessageComesBack) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "why");
    const grpc::Status wire = ToGrpc(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    const absl::Status back = FromGrpc(wire);
    EXPECT_EQ(back.code(), status.code());
    EXPECT_EQ(back.message(), "why");
  }
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
}

TEST(Status, AllViolationsTravelAtOnce) {
  const absl::Status status = BadRequest({{"model.residual.streams", "9", "1 to 8", ""},
                                          {"training.steps", "-1", "at least 1", "set a count"}});
  const absl::Status back = FromGrpc(ToGrpc(status));
  EXPECT_EQ(back.code(), absl::StatusCode::kInvalidArgument);
  const std::vector<FieldViolation> violations = ViolationsOf(back);
  ASSERT_EQ(violations.size(), 2u);
  EXPECT_EQ(violations[0].field, "model.residual.streams");
  EXPECT_EQ(violations[0].description, "9 is not allowed; need 1 to 8");
  EXPECT_EQ(violations[1].field, "training.steps");
  EXPECT_NE(violations[1].description.find("set a count"), std::string::npos);
}

TEST(Status, NoProblemIsNoError) {
  EXPECT_TRUE(BadRequest({}).ok());
  EXPECT_TRUE(ViolationsOf(absl::NotFoundError("x")).empty());
}

// What any client with googleapis' error details can read.
TEST(Status, DetailsHoldErrorInfoWithReasonAndDomain) {
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(ToGrpc(absl::NotFoundError("no job")).error_details()));
  EXPECT_EQ(details.code(), 5);
  EXPECT_EQ(details.message(), "no job");
  ASSERT_EQ(details.details_size(), 1);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "NOT_FOUND");
  EXPECT_EQ(info.domain(), "birkhoff");
}

TEST(Status, ForeignDetailsAreNotMistakenForOurs) {
  const absl::Status status =
      FromGrpc(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "why", "\xff not a message"));
  EXPECT_EQ(status.message(), "why");
  EXPECT_TRUE(ViolationsOf(status).empty());
}

}  // namespace
}  // namespace birkhoff
