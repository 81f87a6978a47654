// birkhoff compare up to where it would train: how it reads the specs of its runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "core/base/disk.h"
#include "core/format/token_file.h"
#include "tests/cli/verb.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

class CompareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto writer = TokenWriter::Create(disk_, {directory_ / "t", TokenFormat::kMegatron, 257});
    ASSERT_TRUE(writer.ok() && (*writer)->AddDocument(std::vector<int32_t>(500, 7)).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
    const std::string text = directory_ / "t";
    const std::string job = "data: {train: " + text + ", validation: " + text +
                            "}\ntraining: {sequence_length: 100, validation_batches: 3}\n";
    ASSERT_TRUE(ReplaceFile(disk_, directory_ / "job.yaml", job).ok());
  }
  // Ends before the first run begins: nothing can be written below a file.
  VerbResult Compare(const std::vector<std::string>& words) {
    std::vector<std::string> all = {"compare", directory_ / "job.yaml", "--out",
                                    directory_ / "job.yaml/out"};
    all.insert(all.end(), words.begin(), words.end());
    return RunVerb(all);
  }

  const TemporaryDirectory directory_;
  PosixDisk disk_;
};

int Count(const std::string& text, const std::string& words) {
  return static_cast<int>(std::vector<std::string>(absl::StrSplit(text, words)).size()) - 1;
}

TEST_F(CompareTest, WhatAllVariantsShareIsSaidOnce) {
  const VerbResult result = Compare({"--seeds", "3"});
  EXPECT_NE(result.code, 0);
  EXPECT_EQ(Count(result.err, "validation holds 4 samples"), 1) << result.err;
}

TEST_F(CompareTest, AVariantThatReadsTheTextInAnotherWayIsJudged) {
  const VerbResult result = Compare({"--sweep", "training.sequence_length=100,600"});
  EXPECT_THAT(result.err, AllOf(HasSubstr("more than training.sequence_length, 600"),
                                HasSubstr("job.yaml: 2 problems")));
}

}  // namespace
}  // namespace birkhoff
