// Whose an output directory is.
#include "cli/output_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/spec/load.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OutputDirectoryTest : public ::testing::Test {
 protected:
  OutputDirectoryTest() { spec_.data.train = {{"t", 1.0}}; }
  absl::StatusOr<std::unique_ptr<OutputDirectory>> Open(bool fresh = false) {
    return OutputDirectory::Open({directory_ / "out", fresh}, spec_, disk_);
  }
  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
  JobSpec spec_;
};

TEST_F(OutputDirectoryTest, KeepsTheResolvedSpec) {
  const auto directory = Open();
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_FALSE((*directory)->resumes());
  EXPECT_EQ(*disk_.Read(directory_ / "out/job.yaml"), JobSpecToYaml(spec_));
}

TEST_F(OutputDirectoryTest, ResumesTheSameSpecUnderAnotherPlan) {
  ASSERT_TRUE(Open().ok());
  spec_.parallelism.pipeline_parallel_degree = 4;
  spec_.checkpoint.interval = 7;
  const auto directory = Open();
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_TRUE((*directory)->resumes());
}

TEST_F(OutputDirectoryTest, RefusesAnotherSpecAndNamesEveryDifference) {
  ASSERT_TRUE(Open().ok());
  spec_.model.hidden_size = 64;
  spec_.training.seed = 43;
  const absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr("model.hidden_size: 128 there, 64 now"));
  EXPECT_THAT(message, HasSubstr("training.seed: 42 there, 43 now"));
  EXPECT_THAT(message, HasSubstr("give another --out, or --fresh"));
  EXPECT_THAT(message, Not(HasSubstr("lr")));
}

TEST_F(OutputDirectoryTest, FreshTakesItForAnotherSpec) {
  ASSERT_TRUE(Open().ok());
  spec_.training.seed = 43;
  const auto directory = Open(/*fresh=*/true);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_FALSE((*directory)->resumes());
  EXPECT_EQ(*disk_.Read(directory_ / "out/job.yaml"), JobSpecToYaml(spec_));
}

TEST_F(OutputDirectoryTest, DamagedSpecFileIsNamed) {
  ASSERT_TRUE(Open().ok());
  const auto file = *disk_.Create(directory_ / "out/job.yaml");
  ASSERT_TRUE(file->Append("{").ok() && file->Close().ok());
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("job.yaml: is damaged"));
}

TEST_F(OutputDirectoryTest, OneRunAtATime) {
  const auto first = Open();
  ASSERT_TRUE(first.ok());
  const absl::Status status = Open().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("another run is using it"));
}

}  // namespace
}  // namespace birkhoff
