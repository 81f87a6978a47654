// Ranks as threads, end to end: reports, files, stopping, validation, skipped steps, and refusals.
#include "worker/rank.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "tests/testing/rank_threads.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::NewTestDirectory;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;

class RankTest : public ::testing::Test {
 protected:
  RankTest() : directory_(NewTestDirectory()) {
    options_.spec = SmallJob(directory_);
    options_.directory = directory_ + "/out";
  }
  std::vector<std::string> MetricsRows() {
    const auto text = disk_.Read(options_.directory + "/metrics.jsonl");
    EXPECT_TRUE(text.ok()) << text.status();
    return absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty());
  }
  std::vector<std::string> Checkpoints() {
    return disk_.List(options_.directory + "/checkpoints").value_or(std::vector<std::string>{});
  }

  const std::string directory_;
  RunOptions options_;
  PosixDisk disk_;
};

TEST_F(RankTest, TrainsToTheEndAndTheLossFalls) {
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  const std::vector<double> losses = result.losses();
  ASSERT_EQ(losses.size(), 12u);
  EXPECT_NEAR(losses.front(), 4.11, 0.05);  // ln 61
  EXPECT_LT(losses.back(), losses.front() - 0.1);
}

TEST_F(RankTest, AllRanksReportTheSameStep) {
  const RunResult result = RunRanks(options_);
  ASSERT_TRUE(result.status().ok()) << result.status();
  for (size_t i = 0; i < 12; ++i) {
    const StepReport& a = result.reports[0][i];
    const StepReport& b = result.reports[1][i];
    EXPECT_EQ(a.step, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(a.tokens, 256);
    EXPECT_EQ(a.total_tokens, 256 * a.step);
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.grad_norm, b.grad_norm);
    EXPECT_EQ(a.gain.forward_by_sublayer, b.gain.forward_by_sublayer);
    EXPECT_EQ(a.validation_loss, b.validation_loss);
    EXPECT_EQ(a.bubble, b.bubble);
    EXPECT_GT(a.bubble, 0.0);
    EXPECT_LT(a.bubble, 1.0);
  }
}

}  // namespace
}  // namespace birkhoff
