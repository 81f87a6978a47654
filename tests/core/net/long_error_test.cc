// Errors that are longer than a client reads: they arrive all the same, shortened.
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/net/status.h"

namespace birkhoff {
namespace {

TEST(LongError, ManyAndLongProblemsFitIntoWhatAClientReads) {
  std::vector<Problem> problems(500, {std::string(300, 'f'), std::string(5000, '['), "less", ""});
  problems[0] = {"training.steps", "-1", "at least 1", ""};
  const grpc::Status wire = ToGrpc(BadRequest(problems));
  EXPECT_LT(wire.error_message().size() + wire.error_details().size() * 4 / 3, 8000u);
  const std::vector<FieldViolation> violations = ViolationsOf(FromGrpc(wire));
  ASSERT_GT(violations.size(), 3u);
  EXPECT_EQ(violations[0].description, "-1 is not allowed; need at least 1");
  EXPECT_EQ(violations[1].field, std::string(197, 'f') + "...");
  EXPECT_EQ(violations.back(),
            (FieldViolation{"", "and " + std::to_string(501 - violations.size()) + " more"}));
}

TEST(LongError, AMessageIsCutBetweenCharacters) {
  std::string accents;
  for (int i = 0; i < 4000; ++i) accents += "\u00e4";  // two bytes, six in a trailer
  const std::string cut = ToGrpc(absl::NotFoundError(accents)).error_message();
  EXPECT_LT(cut.size(), 410u);
  EXPECT_EQ(cut.size() % 2, 1u) << "whole characters and an ellipsis of three";
  EXPECT_EQ(cut.substr(cut.size() - 5), "\u00e4...");
}

TEST(LongError, AMessageThatFitsIsKeptWhole) {
  const std::string fits(1200, 'x');
  EXPECT_EQ(ToGrpc(absl::NotFoundError(fits)).error_message(), fits);
}

}  // namespace
}  // namespace birkhoff
