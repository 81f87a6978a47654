// Whose an output directory is.
#include "cli/output_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/spec/load.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class OutputDirectoryTest : public ::testing::Test {
 protected:
  OutputDirectoryTest() { spec_.data.train = {{"t", 1.0}}; }
  absl::StatusOr<std::unique_ptr<OutputDirectory>> Open(bool fresh = false) {
    return OutputDirectory::Open({directory_ / "out", fresh, {}, ""}, spec_, disk_);
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

TEST_F(OutputDirectoryTest, TakesAChangeThatIsAskedForAndKeepsTheNewSpec) {
  ASSERT_TRUE(Open().ok());
  spec_.optimizer.lr = 0.5;
  spec_.training.steps = 400;
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr("--change optimizer.lr"));
  const auto directory = OutputDirectory::Open(
      {directory_ / "out", /*fresh=*/false, {"optimizer"}, /*init_from=*/""}, spec_, disk_);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_TRUE((*directory)->resumes());
  EXPECT_EQ(*disk_.Read(directory_ / "out/job.yaml"), JobSpecToYaml(spec_));
}

TEST_F(OutputDirectoryTest, FreshKeepsTheWeightsToBeginWith) {
  ASSERT_TRUE(Open().ok());
  const std::string checkpoint = directory_ / "out/checkpoints/step-00000005";
  ASSERT_TRUE(disk_.CreateDirectories(checkpoint).ok());
  ASSERT_TRUE(ReplaceFile(disk_, checkpoint + "/manifest.json", "{}").ok());
  std::filesystem::create_directory_symlink(directory_ / "out", std::string(directory_ / "link"));
  for (const std::string& weights : {checkpoint, directory_ / "out",
                                     directory_ / "link/checkpoints", directory_ / "out/../out"}) {
    const absl::Status status =
        OutputDirectory::Open({directory_ / "out", /*fresh=*/true, {}, weights}, spec_, disk_)
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << weights;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--fresh would forget these weights"));
    EXPECT_TRUE(disk_.Exists(checkpoint + "/manifest.json"));
  }
}

TEST_F(OutputDirectoryTest, FreshTakesItForAnotherSpec) {
  ASSERT_TRUE(Open().ok());
  spec_.training.seed = 43;
  const auto directory = Open(/*fresh=*/true);
  ASSERT_TRUE(directory.ok()) << directory.status();
  EXPECT_FALSE((*directory)->resumes());
  EXPECT_EQ(*disk_.Read(directory_ / "out/job.yaml"), JobSpecToYaml(spec_));
}

// A kill between the two would resume the old weights under the new spec.
TEST_F(OutputDirectoryTest, FreshRemovesCheckpointsBeforeItWritesTheSpec) {
  testing::FaultDisk disk;
  const std::string path = directory_ / "out";  // the lock is a file of the system
  ASSERT_TRUE(disk_.CreateDirectories(path).ok());
  const std::string checkpoint = path + "/checkpoints/step-00000005";
  for (int64_t k = 0;; ++k) {
    disk.RemoveTree(path);
    ASSERT_TRUE(OutputDirectory::Open({path, false, {}, ""}, spec_, disk).ok());
    ASSERT_TRUE(disk.CreateDirectories(checkpoint).ok());
    ASSERT_TRUE(disk.Create(checkpoint + "/manifest.json").ok());
    JobSpec other = spec_;
    other.training.seed = 43;
    disk.FailFrom(disk.num_operations() + k);
    const bool opened = OutputDirectory::Open({path, true, {}, ""}, other, disk).ok();
    disk.FailFrom(-1);
    const bool is_other = *disk.Read(path + "/job.yaml") == JobSpecToYaml(other);
    EXPECT_FALSE(is_other && disk.Exists(checkpoint)) << "operation " << k;
    if (opened) break;
  }
}

TEST_F(OutputDirectoryTest, FreshRemovesNothingOfOthers) {
  spec_.checkpoint.directory = directory_ / "mine";
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "mine/photos").ok());
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "out/photos").ok());
  ASSERT_TRUE(Open(/*fresh=*/true).ok());
  EXPECT_TRUE(disk_.Exists(directory_ / "mine/photos"));
  EXPECT_TRUE(disk_.Exists(directory_ / "out/photos"));
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
