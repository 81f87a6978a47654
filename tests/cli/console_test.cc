// Exit codes and numbers for people.
#include "cli/console.h"

#include <gtest/gtest.h>

#include <sstream>

namespace birkhoff {
namespace {

TEST(ConsoleTest, ErrorsHaveTheExitCodesOfTheContract) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kDone);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), ExitCode::kBadSpec);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), ExitCode::kBadSpec);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), ExitCode::kInfrastructure);
  EXPECT_EQ(ExitCodeOf(absl::ResourceExhaustedError("")), ExitCode::kInfrastructure);
  EXPECT_EQ(ExitCodeOf(absl::AbortedError("")), ExitCode::kFenced);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), ExitCode::kInternal);
}

TEST(ConsoleTest, FinishSaysWhatWentWrongOnErr) {
  std::ostringstream out, err;
  EXPECT_EQ(Finish({&out, &err, false, ""}, absl::InvalidArgumentError("no")), 64);
  EXPECT_EQ(err.str(), "birkhoff: no\n");
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(Finish({&out, &err, false, ""}, absl::OkStatus()), 0);
}

TEST(ConsoleTest, NumbersHaveThreeDigits) {
  EXPECT_EQ(ShortCount(0), "0");
  EXPECT_EQ(ShortCount(999), "999");
  EXPECT_EQ(ShortCount(999.7), "1.00 k");
  EXPECT_EQ(ShortCount(12345), "12.3 k");
  EXPECT_EQ(ShortCount(1.25e8), "125 M");
  EXPECT_EQ(ShortBytes(25.31e9), "25.3 GB");
  EXPECT_EQ(ShortBytes(17), "17 B");
}

TEST(ConsoleTest, DurationsHaveTwoUnits) {
  EXPECT_EQ(ShortDuration(0.4), "0 s");
  EXPECT_EQ(ShortDuration(59.4), "59 s");
  EXPECT_EQ(ShortDuration(65), "1m 05s");
  EXPECT_EQ(ShortDuration(3720), "1h 02m");
}

}  // namespace
}  // namespace birkhoff
