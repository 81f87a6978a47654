// Checkpoints as bytes: what is written is read back, and damage anywhere is named.
#include "core/format/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/format/checksum.h"
#include "tests/testing/fault_disk.h"

namespace birkhoff {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using testing::FaultDisk;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::Survives;

TEST(ChecksumTest, IsTheSameHoweverTheBytesAreCut) {
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes.push_back(static_cast<char>(i * 31));
  const std::string whole = ChecksumOf(bytes);
  for (const size_t piece : {1u, 7u, 31u, 32u, 33u, 999u}) {
    Checksum checksum;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      checksum.Update(std::string_view(bytes).substr(at, piece));
    }
    EXPECT_EQ(checksum.Hex(), whole) << "pieces of " << piece;
  }
}

TEST(ChecksumTest, KeepsItsValuesForEver) {
  EXPECT_EQ(ChecksumOf(""), "58c94533b9407ce2");
  EXPECT_EQ(ChecksumOf("abc"), "8ab6d76109df1669");
  EXPECT_EQ(ChecksumOf(std::string(100, 'x')), "da656b447f5266c6");
}

TEST(ChecksumTest, SeesEveryFlippedBitAndAddedZeros) {
  std::string bytes = "a checkpoint's bytes, more than one block of them";
  const std::string before = ChecksumOf(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_NE(ChecksumOf(bytes), before) << "bit " << bit;
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
  EXPECT_NE(ChecksumOf(bytes + std::string(1, '\0')), before);
}

class CheckpointTest : public ::testing::Test {
 protected:
  // A checkpoint of `step` with two shards, committed.
  absl::StatusOr<std::string> Commit(int64_t step, int attempt = 1) {
    Manifest manifest = NewManifest(step, attempt);
    const std::string partial = Root(PartialCheckpointName(step, "jobs/test", attempt));
    if (auto status = disk_.CreateDirectories(partial); !status.ok()) return status;
    const std::vector<std::vector<TensorView>> shards = {
        {{"a", {2, 3}, a_.data()}, {"a.adam_m", {2, 3}, m_.data()}}, {{"b", {4}, b_.data()}}, {}};
    for (int rank = 0; rank < static_cast<int>(shards.size()); ++rank) {
      const std::string file = ShardFileName(rank);
      const auto written = WriteShard(disk_, partial + "/" + file, shards[rank]);
      if (!written.ok()) return written.status();
      auto status = disk_.SyncDirectory(partial);
      if (status.ok()) status = disk_.SyncDirectory("/out");
      if (status.ok()) status = AddShard(disk_, partial, file, *written, manifest);
      if (!status.ok()) return status;
    }
    return CommitCheckpointDirectory(disk_, "/out", manifest);
  }

  static Manifest NewManifest(int64_t step, int attempt) {
    Manifest manifest;
    manifest.job = "jobs/test";
    manifest.attempt = attempt;
    manifest.step = step;
    manifest.tokens = 1000 * step;
    manifest.skipped = 2;
    manifest.skipped_in_a_row = 1;
    manifest.next_sample = 16 * step;
    manifest.data_seed = 0xfedcba9876543210ULL;
    manifest.model_hash = "m";
    manifest.plan_hash = "p";
    manifest.spec = "name: test\nmodel: {}\n";
    return manifest;
  }

  std::string Root(const std::string& name) const { return absl::StrCat("/out/", name); }
  std::string Committed(int64_t step) const { return Root(CheckpointName(step)); }

  // What Open and reading all tensors say.
  absl::Status ReadAll(int64_t step) {
    const auto reader = CheckpointReader::Open(disk_, Committed(step));
    if (!reader.ok()) return reader.status();
    std::vector<float> values(6);
    for (const auto& [name, tensor] : (*reader)->manifest().tensors) {
      if (auto status = (*reader)->Read(name, tensor.shape, values.data()); !status.ok()) {
        return status;
      }
    }
    return absl::OkStatus();
  }

  FaultDisk disk_;
  const std::vector<float> a_ = {1, 2, 3, 4, 5, 6}, m_ = {-1, -2, -3, -4, -5, -6},
                           b_ = {7, 8, 9, 0};
};

TEST_F(CheckpointTest, GivesBackWhatWasWritten) {
  ASSERT_TRUE(Commit(50).ok());
  const auto reader = CheckpointReader::Open(disk_, Committed(50));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Manifest& manifest = (*reader)->manifest();
  EXPECT_EQ(manifest.step, 50);
  EXPECT_EQ(manifest.tokens, 50000);
  EXPECT_EQ(manifest.skipped_in_a_row, 1);
  EXPECT_EQ(manifest.data_seed, 0xfedcba9876543210ULL);
  EXPECT_EQ(manifest.spec, "name: test\nmodel: {}\n");
  EXPECT_EQ(manifest.tensors.at("b").shard, "rank-00001.safetensors");
  std::vector<float> a(6), m(6), b(4);
  EXPECT_TRUE((*reader)->Read("a", {2, 3}, a.data()).ok());
  EXPECT_TRUE((*reader)->Read("a.adam_m", {2, 3}, m.data()).ok());
  EXPECT_TRUE((*reader)->Read("b", {4}, b.data()).ok());
  EXPECT_EQ(a, a_);
  EXPECT_EQ(m, m_);
  EXPECT_EQ(b, b_);
}

TEST_F(CheckpointTest, ShardsAreSafetensors) {
  ASSERT_TRUE(Commit(1).ok());
  const std::string bytes = *disk_.Read(Committed(1) + "/rank-00001.safetensors");
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  EXPECT_EQ(length % 8, 0u);
  EXPECT_THAT(bytes.substr(8, length),
              HasSubstr(R"("b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]})"));
  EXPECT_EQ(bytes.substr(8 + length), std::string(reinterpret_cast<const char*>(b_.data()), 16));
}

TEST_F(CheckpointTest, RefusesAnotherShapeAndAnUnknownTensor) {
  ASSERT_TRUE(Commit(1).ok());
  const auto reader = CheckpointReader::Open(disk_, Committed(1));
  ASSERT_TRUE(reader.ok());
  std::vector<float> values(6);
  EXPECT_THAT((*reader)->Read("a", {3, 2}, values.data()).ToString(), HasSubstr("tensor a is F32"));
  EXPECT_THAT((*reader)->Read("c", {1}, values.data()).ToString(), HasSubstr("has no tensor c"));
}

TEST_F(CheckpointTest, EveryFlippedBitIsSeenAndItsFileNamed) {
  ASSERT_TRUE(Commit(1).ok());
  for (const std::string file :
       {"rank-00000.safetensors", "rank-00001.safetensors", "rank-00002.safetensors"}) {
    const std::string path = Committed(1) + "/" + file;
    const int64_t size = *disk_.Size(path);
    for (int64_t byte = 0; byte < size; ++byte) {
      const auto flip = [byte](std::string& bytes) { bytes[byte] ^= 1 << (byte % 8); };
      disk_.Edit(path, flip);
      const absl::Status status = ReadAll(1);
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << file << " byte " << byte;
      EXPECT_THAT(status.ToString(), HasSubstr(file)) << "byte " << byte;
      disk_.Edit(path, flip);
    }
  }
  EXPECT_TRUE(ReadAll(1).ok());
}

TEST_F(CheckpointTest, EveryFlippedBitOfTheManifestIsSeen) {
  ASSERT_TRUE(Commit(1).ok());
  const std::string path = Committed(1) + "/manifest.json";
  const std::string whole = *disk_.Read(path);
  for (size_t byte = 0; byte < whole.size(); ++byte) {
    if (whole[byte] == ' ' || whole[byte] == '\n') continue;  // white space may turn into another
    disk_.Edit(path, [byte](std::string& bytes) { bytes[byte] ^= 1 << (byte % 7); });
    const absl::Status status = ReadAll(1);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << "byte " << byte;
    EXPECT_THAT(status.ToString(), HasSubstr("manifest.json")) << "byte " << byte;
    disk_.Edit(path, [&whole](std::string& bytes) { bytes = whole; });
  }
}

TEST_F(CheckpointTest, DamagedTensorIsNamed) {
  ASSERT_TRUE(Commit(1).ok());
  disk_.Edit(Committed(1) + "/rank-00000.safetensors",
             [](std::string& bytes) { bytes[bytes.size() - 1] ^= 1; });
  EXPECT_THAT(ReadAll(1).ToString(),
              HasSubstr("rank-00000.safetensors: tensor a.adam_m has checksum"));
}

TEST_F(CheckpointTest, CutFilesAreSeenAtEveryLength) {
  ASSERT_TRUE(Commit(1).ok());
  for (const std::string file : {"rank-00000.safetensors", "manifest.json"}) {
    const std::string path = Committed(1) + "/" + file;
    const std::string whole = *disk_.Read(path);
    // The manifest's last byte is a newline, which says nothing.
    for (size_t length = 0; length + 1 < whole.size(); ++length) {
      disk_.Edit(path, [length](std::string& bytes) { bytes.resize(length); });
      EXPECT_EQ(ReadAll(1).code(), absl::StatusCode::kDataLoss) << file << " of " << length;
      disk_.Edit(path, [&whole](std::string& bytes) { bytes = whole; });
    }
  }
}

TEST_F(CheckpointTest, MissingFilesAreNamed) {
  ASSERT_TRUE(Commit(1).ok());
  ASSERT_TRUE(disk_.RemoveFile(Committed(1) + "/rank-00001.safetensors").ok());
  EXPECT_THAT(ReadAll(1).ToString(), HasSubstr("rank-00001.safetensors: missing"));
  ASSERT_TRUE(disk_.RemoveFile(Committed(1) + "/manifest.json").ok());
  EXPECT_THAT(ReadAll(1).ToString(), HasSubstr("manifest.json: missing"));
}

TEST_F(CheckpointTest, HostileHeadersAreRefused) {
  ASSERT_TRUE(disk_.CreateDirectories("/out").ok());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "cut short after 0 bytes"},
      {std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), "the header says it has"},
      {std::string("\x02\0\0\0\0\0\0\0[]", 10), ""},
      {std::string("\x08\0\0\0\0\0\0\0{\"a\":[]}", 16), "the header cannot be read"},
      {std::string("\x04\0\0\0\0\0\0\0nope", 12), "the header cannot be read"},
  };
  for (const auto& [bytes, message] : cases) {
    auto file = disk_.Create("/out/x");
    ASSERT_TRUE(file.ok() && (*file)->Append(bytes).ok());
    const auto header = ReadShardHeader(disk_, "/out/x");
    if (message.empty()) continue;  // an empty list is an empty header: nothing to lose
    ASSERT_FALSE(header.ok()) << bytes;
    EXPECT_THAT(header.status().ToString(), HasSubstr(message));
  }
}

TEST_F(CheckpointTest, TensorsOutsideOfTheFileAreRefused) {
  ASSERT_TRUE(disk_.CreateDirectories("/out").ok());
  for (const std::string offsets : {"[0,8]", "[-4,0]", "[4,0]", "[0]", "[0,9223372036854775807]"}) {
    const std::string json =
        absl::StrCat(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)", offsets, "}}");
    std::string bytes(8, '\0');
    bytes[0] = static_cast<char>(json.size());
    auto file = disk_.Create("/out/x");
    ASSERT_TRUE(file.ok() && (*file)->Append(bytes + json + "1234").ok());
    EXPECT_EQ(ReadShardHeader(disk_, "/out/x").status().code(), absl::StatusCode::kDataLoss)
        << offsets;
  }
}

TEST_F(CheckpointTest, ATensorInTwoShardsIsRefused) {
  ASSERT_TRUE(disk_.CreateDirectories("/out").ok());
  const std::vector<TensorView> tensors = {{"b", {4}, b_.data()}};
  Manifest manifest = NewManifest(1, 1);
  const auto first = WriteShard(disk_, "/out/x", tensors),
             second = WriteShard(disk_, "/out/y", tensors);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE(AddShard(disk_, "/out", "x", *first, manifest).ok());
  EXPECT_THAT(AddShard(disk_, "/out", "y", *second, manifest).ToString(),
              HasSubstr("tensor b is also in x"));
}

TEST_F(CheckpointTest, ListNamesCommittedOnesOnlyNewestFirst) {
  EXPECT_THAT(*ListCheckpoints(disk_, "/nowhere"), IsEmpty());
  for (const int64_t step : {5, 123456789, 10}) ASSERT_TRUE(Commit(step).ok());
  ASSERT_TRUE(disk_.CreateDirectories(Root(PartialCheckpointName(20, "jobs/test", 1))).ok());
  for (const char* other :
       {"step-", "step-x", "step-00000030.removing", "notes", "step-1.attempt-2"}) {
    ASSERT_TRUE(disk_.CreateDirectories(Root(other)).ok());
  }
  EXPECT_THAT(*ListCheckpoints(disk_, "/out"), ElementsAre(123456789, 10, 5));
}

TEST_F(CheckpointTest, WeightsAreFoundInACheckpointADirectoryOfThemAndAnOutputDirectory) {
  for (const int64_t step : {10, 5}) ASSERT_TRUE(Commit(step).ok());
  EXPECT_EQ(*FindWeights(disk_, Committed(5)), Committed(5));
  EXPECT_EQ(*FindWeights(disk_, "/out"), Committed(10)) << "the newest";
  EXPECT_THAT(std::string(FindWeights(disk_, "/nowhere").status().message()),
              HasSubstr("/nowhere: holds no committed checkpoint to take weights from"));
  ASSERT_TRUE(disk_.CreateDirectories("/run/checkpoints/step-00000007").ok());
  ASSERT_TRUE(disk_.Create("/run/checkpoints/step-00000007/manifest.json").ok());
  EXPECT_EQ(*FindWeights(disk_, "/run"), "/run/checkpoints/step-00000007");
}

TEST_F(CheckpointTest, ManifestRemembersWhereTheFirstWeightsCameFrom) {
  Manifest manifest = NewManifest(5, 1);
  EXPECT_THAT(ManifestToJson(manifest), Not(HasSubstr("init_from"))) << "from the seed";
  EXPECT_EQ(ManifestFromJson(ManifestToJson(manifest))->origin.directory, "");
  manifest.origin = {"/runs/a", "/runs/a/checkpoints/step-00000007"};
  const absl::StatusOr<Manifest> back = ManifestFromJson(ManifestToJson(manifest));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->origin.directory, "/runs/a");
  EXPECT_EQ(back->origin.checkpoint, "/runs/a/checkpoints/step-00000007");
}

TEST_F(CheckpointTest, PruneKeepsThoseCommittedLast) {
  for (const int64_t step : {3, 4, 9, 1, 2}) ASSERT_TRUE(Commit(step, 2).ok());
  ASSERT_TRUE(PruneCheckpoints(disk_, "/out", 2).ok());
  EXPECT_THAT(*disk_.List("/out"), ElementsAre("step-00000001", "step-00000002"));
}

TEST_F(CheckpointTest, PruneDoesNotCountWhatCannotBeRead) {
  for (const int64_t step : {1, 2, 3}) ASSERT_TRUE(Commit(step).ok());
  disk_.Edit(Committed(3) + "/manifest.json", [](std::string& bytes) { bytes.resize(1); });
  ASSERT_TRUE(PruneCheckpoints(disk_, "/out", 1).ok());
  EXPECT_THAT(*disk_.List("/out"), ElementsAre("step-00000002", "step-00000003"));
}

TEST_F(CheckpointTest, PartialsGoButThoseOfALaterAttempt) {
  ASSERT_TRUE(Commit(4).ok());
  for (const char* name :
       {"step-00000003.removing", "step-00000009.attempt-1.partial",
        "step-00000009.other.attempt-7.partial", "step-00000009.test.attempt-2.partial",
        "step-00000009.test.attempt-3.partial", "step-00000001.set-aside"}) {
    ASSERT_TRUE(disk_.CreateDirectories(Root(name)).ok());
  }
  ASSERT_TRUE(RemovePartials(disk_, "/out", "jobs/test", /*attempt=*/2).ok());
  EXPECT_THAT(*disk_.List("/out"), ElementsAre("step-00000001.set-aside", "step-00000004",
                                               "step-00000009.test.attempt-3.partial"));
}

// What a user may have below a directory that --fresh or pruning is told of.
class ForeignFilesTest : public CheckpointTest {
 protected:
  void Put(const std::string& path) {
    ASSERT_TRUE(disk_.CreateDirectories(ParentOf(path)).ok());
    const auto file = disk_.Create(path);
    ASSERT_TRUE(file.ok() && (*file)->Append("precious").ok()) << path;
  }
  std::string Read(const std::string& path) { return disk_.Read(path).value_or("(gone)"); }
};

TEST_F(ForeignFilesTest, OnlyNamesThatWeWriteAreRemoved) {
  ASSERT_TRUE(Commit(1).ok());
  const std::vector<std::string> precious = {"/out/thesis.tex",
                                             "/out/photos/1.jpg",
                                             "/out/step-3/notes",
                                             "/out/step-00000004/notes",
                                             "/out/step-00000005/manifest.json/notes",
                                             "/out/step-00000006.test.attempt-1.partial/notes",
                                             "/out/step-00000007.removing/notes",
                                             "/out/step-00000008.mine",
                                             "/out/step-00000009/rank-x.safetensors",
                                             "/out/checkpoints.txt"};
  for (const std::string& path : precious) Put(path);
  ASSERT_TRUE(RemovePartials(disk_, "/out", "jobs/test", 5).ok());
  ASSERT_TRUE(PruneCheckpoints(disk_, "/out", 1).ok());
  for (const std::string& path : precious) EXPECT_EQ(Read(path), "precious") << path;
  ASSERT_TRUE(RemoveAllCheckpoints(disk_, "/out").ok());
  EXPECT_FALSE(disk_.Exists(Committed(1)));
  for (const std::string& path : precious) {
    if (Read(path) == "precious") continue;  // else it has moved with its directory
    const size_t at = path.find('/', sizeof("/out"));
    EXPECT_EQ(Read(absl::StrCat(path.substr(0, at), ".set-aside", path.substr(at))), "precious")
        << path;
  }
  EXPECT_THAT(*ListCheckpoints(disk_, "/out"), IsEmpty());
}

TEST_F(ForeignFilesTest, ACheckpointWithANoteCanBeLoadedAndIsNotPruned) {
  for (const int64_t step : {1, 2, 3}) ASSERT_TRUE(Commit(step).ok());
  Put("/out/step-00000001/README");
  ASSERT_TRUE(PruneCheckpoints(disk_, "/out", 1).ok());
  EXPECT_THAT(*ListCheckpoints(disk_, "/out"), ElementsAre(3, 1));
  EXPECT_TRUE(ReadAll(1).ok());
}

TEST_F(ForeignFilesTest, ACommitOverAForeignDirectorySetsItAside) {
  Put("/out/step-00000001/README");
  Put("/out/step-00000001.set-aside/README");
  ASSERT_TRUE(Commit(1).ok());
  EXPECT_TRUE(ReadAll(1).ok());
  EXPECT_EQ(Read("/out/step-00000001.set-aside/README"), "precious");
  EXPECT_EQ(Read("/out/step-00000001.set-aside-2/README"), "precious");
}

TEST_F(CheckpointTest, CommitComparesEveryByteWithWhatItsRankHasWritten) {
  Manifest manifest = NewManifest(1, 1);
  ASSERT_TRUE(disk_.CreateDirectories("/out").ok());
  const auto written = WriteShard(disk_, "/out/x", std::vector<TensorView>{{"b", {4}, b_.data()}});
  ASSERT_TRUE(written.ok());
  disk_.Edit("/out/x", [](std::string& bytes) { bytes[bytes.size() - 1] ^= 1; });
  EXPECT_THAT(AddShard(disk_, "/out", "x", *written, manifest).ToString(),
              HasSubstr(absl::StrCat("its rank has written ", written->checksum)));
}

TEST_F(CheckpointTest, CommitReplacesADamagedOneOfTheSameStep) {
  ASSERT_TRUE(Commit(5, 1).ok());
  disk_.Edit(Committed(5) + "/manifest.json", [](std::string& bytes) { bytes.resize(1); });
  ASSERT_TRUE(Commit(5, 2).ok());
  EXPECT_TRUE(ReadAll(5).ok()) << ReadAll(5);
}

TEST_F(CheckpointTest, NoCrashPointLosesTheCommittedOneOrShowsAHalfOne) {
  // Step 1 is committed; step 2 fails at its k-th operation, then power is lost.
  int64_t crashes = 0;
  for (const Survives survives : {Survives::kOnlyDurable, Survives::kEverything}) {
    for (int64_t k = 0;; ++k) {
      disk_.Crash(Survives::kEverything);
      disk_.RemoveTree("/out");
      ASSERT_TRUE(disk_.CreateDirectories("/out").ok());
      ASSERT_TRUE(disk_.SyncDirectory("").ok());
      ASSERT_TRUE(Commit(1).ok());
      disk_.FailFrom(disk_.num_operations() + k);
      const bool committed = Commit(2).ok();
      disk_.Crash(survives);
      const std::vector<int64_t> steps = *ListCheckpoints(disk_, "/out");
      ASSERT_THAT(steps, AnyOf(ElementsAre(1), ElementsAre(2, 1))) << "operation " << k;
      for (const int64_t step : steps) EXPECT_TRUE(ReadAll(step).ok()) << ReadAll(step);
      if (committed) {
        EXPECT_THAT(steps, ElementsAre(2, 1)) << "acknowledged, but lost";
        break;
      }
      ++crashes;
    }
  }
  EXPECT_GT(crashes, 40);
}

}  // namespace
}  // namespace birkhoff
