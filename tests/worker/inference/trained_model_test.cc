// What stands for trained weights, and what does not.
#include "worker/inference/trained_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/exit_status.h"
#include "tests/testing/fault_disk.h"
#include "tests/worker/inference/random_checkpoint.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using testing::CommitRandomCheckpoint;
using ::testing::HasSubstr;
using testing::SmallSpecOfBytes;

class TrainedModelTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<TrainedModel>> Load(const std::string& path) {
    return TrainedModel::Load(disk_, path, *device_);
  }
  // Refused with exit code 64 and these words.
  void ExpectRefused(const std::string& path, const std::string& words) {
    const absl::Status status = Load(path).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadSpec) << status;
  }
  std::vector<float> Values(const TrainedModel& model, const std::string& name, int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    const std::unique_ptr<Stream> stream = device_->NewStream("test");
    Download(*stream, values.data(), model.Lookup().scalar(name).value, count);
    stream->Synchronize();
    return values;
  }

  testing::FaultDisk disk_;
  const std::unique_ptr<Device> device_ = NewCpuDevice();
};

TEST_F(TrainedModelTest, AnOutputDirectoryItsCheckpointsAndACheckpointStandForWeights) {
  CommitRandomCheckpoint(disk_, "/out/checkpoints", SmallSpecOfBytes(), /*step=*/5);
  CommitRandomCheckpoint(disk_, "/out/checkpoints", SmallSpecOfBytes(), /*step=*/12);
  for (const auto& [path, step] : {std::pair{"/out", 12},
                                   {"/out/", 12},
                                   {"/out/checkpoints", 12},
                                   {"/out/checkpoints/step-00000005", 5}}) {
    const auto model = Load(path);
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->step(), step) << path;
    EXPECT_EQ((*model)->spec().model.hidden_size, 16);
  }
}

TEST_F(TrainedModelTest, WeightsAreTheSameHoweverManyRanksHaveWrittenThem) {
  JobSpec spec = SmallSpecOfBytes();
  for (const bool tied : {false, true}) {
    spec.model.tie_embeddings = tied;
    const Parameters<float> want = RandomParameters<float>(spec.model, /*seed=*/3);
    for (const int shards : {1, 3}) {
      const std::string root = absl::StrCat("/", tied, shards);
      CommitRandomCheckpoint(disk_, root, spec, /*step=*/1, shards);
      const auto model = Load(root);
      ASSERT_TRUE(model.ok()) << model.status();
      for (const auto& [name, values] : want.values) {
        EXPECT_EQ(Values(**model, name, int64_t(values.size())), values) << name;
      }
    }
  }
}

TEST_F(TrainedModelTest, WhatHoldsNoCheckpointIsNamed) {
  ExpectRefused("/nowhere", "/nowhere: there is no such directory");
  ASSERT_TRUE(disk_.CreateDirectories("/out/checkpoints").ok());
  ExpectRefused("/out", "/out: holds no committed checkpoint");
  const std::string partial = "/out/checkpoints/step-00000004.small.attempt-1.partial";
  ASSERT_TRUE(disk_.CreateDirectories(partial).ok());
  ExpectRefused("/out", "/out: holds no committed checkpoint");
  ExpectRefused(partial, "was never finished; need a committed one");
  ExpectRefused(partial + "/", "was never finished; need a committed one");
}

TEST_F(TrainedModelTest, ADamagedOneIsNamedWithItsTensor) {
  const std::string directory = CommitRandomCheckpoint(disk_, "/out", SmallSpecOfBytes());
  disk_.Edit(directory + "/rank-00000.safetensors", [](std::string& bytes) { bytes.back() ^= 1; });
  ExpectRefused("/out", "rank-00000.safetensors");
  ExpectRefused("/out", "; or name an earlier checkpoint beside it");
  disk_.Edit(directory + "/rank-00000.safetensors", [](std::string& bytes) { bytes.pop_back(); });
  ExpectRefused("/out", "rank-00000.safetensors");
  disk_.Edit(directory + "/manifest.json", [](std::string& bytes) { bytes.resize(40); });
  ExpectRefused("/out", "manifest.json");
}

TEST_F(TrainedModelTest, ASpecOfAnotherReleaseIsRefused) {
  JobSpec spec = SmallSpecOfBytes();
  spec.model.rms_norm_eps = -1.0;
  CommitRandomCheckpoint(disk_, "/out", spec);
  ExpectRefused("/out", "this release cannot read the spec in its manifest: model.rms_norm_eps");
}

TEST_F(TrainedModelTest, ADiskThatCannotReadIsNoDamage) {
  CommitRandomCheckpoint(disk_, "/out", SmallSpecOfBytes());
  disk_.FailReadsOf("safetensors");
  EXPECT_EQ(ExitCodeOf(Load("/out").status()), ExitCode::kInfrastructure);
}

}  // namespace
}  // namespace birkhoff
