// Lines of logs.
#include "core/base/log.h"

#include <gtest/gtest.h>

namespace birkhoff {
namespace {

TEST(LogLine, BeginsWithUtcToTheMillisecond) {
  const absl::Time time = absl::FromUnixMillis(1'700'000'000'007);
  EXPECT_EQ(LogLine(time, "jobs/tiny RUNNING"), "2023-11-14T22:13:20.007Z jobs/tiny RUNNING");
}

TEST(LogLine, IsOneLineWhateverIsSaid) {
  EXPECT_EQ(LogLine(absl::UnixEpoch(), "a\nb\x1b"), "1970-01-01T00:00:00.000Z a\\nb\\x1b");
}

}  // namespace
}  // namespace birkhoff
