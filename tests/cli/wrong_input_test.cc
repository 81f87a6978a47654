// Everything that a person can get wrong in a job file, a token file or a checkpoint: the whole
// message and the exit code of each.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/format/checkpoint.h"
#include "core/format/token_file.h"
#include "tests/cli/verb.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::TemporaryDirectory;

void WriteBytes(const std::string& path, const std::string& bytes) {
  PosixDisk disk;
  const auto file = disk.Create(path);
  ASSERT_TRUE(file.ok() && (*file)->Append(bytes).ok() && (*file)->Close().ok());
}

// Job files, through `birkhoff validate --spec-only`.
struct WrongSpec {
  const char* name;
  std::string yaml;
  std::string says;  // all of stderr before the last line
  friend void PrintTo(const WrongSpec& wrong, std::ostream* out) { *out << wrong.name; }
};

class WrongSpecTest : public ::testing::TestWithParam<WrongSpec> {};

TEST_P(WrongSpecTest, IsExplainedWithCode64) {
  const TemporaryDirectory directory;
  const std::string path = directory / "job.yaml";
  WriteBytes(path, GetParam().yaml);
  const VerbResult result = RunVerb({"validate", "--spec-only", path});
  EXPECT_EQ(result.code, 64);
  EXPECT_EQ(result.out, "");
  const auto problems = std::count(GetParam().says.begin(), GetParam().says.end(), '\n');
  EXPECT_EQ(result.err, absl::StrCat(GetParam().says, "birkhoff: ", path, ": ", problems,
                                     problems == 1 ? " problem\n" : " problems\n"));
}

INSTANTIATE_TEST_SUITE_P(
    Specs, WrongSpecTest,
    ::testing::Values(
        WrongSpec{"Empty", "", "job spec: an empty text is not allowed; need one YAML document\n"},
        WrongSpec{"Scalar", "tiny", "job spec: tiny is not allowed; need a mapping of fields\n"},
        WrongSpec{"List", "[1, 2]", "job spec: a list is not allowed; need a mapping of fields\n"},
        WrongSpec{"Binary",
                  std::string("\x7f"
                              "ELF\x02\x01\0",
                              7),
                  "job spec: byte 0x2 at offset 4 is not allowed; need UTF-8 text without control "
                  "characters\n"},
        WrongSpec{"Tab", "data:\n\ttrain: t\n",
                  "job spec line 2, column 1: a tab is not allowed; need spaces before the first "
                  "word of a line\n"},
        WrongSpec{"NoData", "name: a\n",
                  "data.train: nothing is not allowed; need at least one token file (bash "
                  "deploy/corpus.sh makes data/corpus-train)\n"},
        WrongSpec{"UnknownKey", "data: {train: t}\nmodel: {hiddensize: 8}\n",
                  "model.hiddensize: 8 is not allowed; need a field of the job spec (did you mean "
                  "model.hidden_size?)\n"},
        WrongSpec{"UnknownSection", "data: {train: t}\noptimiser: {lr: 1}\n",
                  "optimiser: a mapping is not allowed; need a field of the job spec (did you mean "
                  "optimizer?)\n"},
        WrongSpec{"WrongPlace", "data: {train: t}\nlr: 0.1\n",
                  "lr: 0.1 is not allowed; need a field of the job spec (did you mean "
                  "optimizer.lr?)\n"},
        WrongSpec{"Nonsense", "data: {train: t}\nxyzzy_plugh: 1\n",
                  "xyzzy_plugh: 1 is not allowed; need a field of the job spec (birkhoff explain "
                  "lists them)\n"},
        WrongSpec{"Reserved", "data: {train: t}\nmodel: {attention: {kind: mla}}\n",
                  "model.attention: a mapping is not allowed; need no such field (reserved, not "
                  "built yet)\n"},
        WrongSpec{"ReservedDegree", "data: {train: t}\nparallelism: {expert_parallel_degree: 8}\n",
                  "parallelism.expert_parallel_degree: 8 is not allowed; need no such field "
                  "(reserved, not built yet)\n"},
        WrongSpec{"Duplicate", "data: {train: t}\ntraining: {steps: 50, steps: 60}\n",
                  "training.steps: a second value is not allowed; need each key once (remove one "
                  "of the two)\n"},
        WrongSpec{"WrongType", "data: {train: t}\ntraining: {steps: many}\n",
                  "training.steps: many is not allowed; need a whole number from 1 on\n"},
        WrongSpec{"NaN", "data: {train: t}\ntraining: {clip_grad: .nan}\n",
                  "training.clip_grad: .nan is not allowed; need a finite number from 0 on\n"},
        WrongSpec{"Huge", "data: {train: t}\nmodel: {hidden_size: 99999999999999999999}\n",
                  "model.hidden_size: 99999999999999999999 is not allowed; need a whole number "
                  "from 1 to 65536\n"},
        WrongSpec{"Choice", "data: {train: t}\nmodel: {residual: {kind: mHC}}\n",
                  "model.residual.kind: mHC is not allowed; need one of residual, hc, mhc\n"},
        WrongSpec{"Schedule", "data: {train: t}\nparallelism: {schedule: gpipe}\n",
                  "parallelism.schedule: gpipe is not allowed; need one of 1f1b, dualpipev, "
                  "dualpipe\n"},
        WrongSpec{"Streams", "data: {train: t}\nmodel: {residual: {streams: 0}}\n",
                  "model.residual.streams: 0 is not allowed; need a whole number from 1 to 8\n"},
        WrongSpec{"Beta", "data: {train: t}\noptimizer: {beta2: 1}\n",
                  "optimizer.beta2: 1 is not allowed; need a finite number from 0 to 0.999999\n"},
        WrongSpec{"Heads", "data: {train: t}\nmodel: {num_attention_heads: 3}\n",
                  "model.hidden_size: 128 is not allowed; need a multiple of "
                  "model.num_attention_heads, 3 (nearest: 126 or 129)\n"
                  "model.num_key_value_heads: 4 is not allowed; need a divisor of "
                  "model.num_attention_heads, 3\n"},
        WrongSpec{"OddDualPipe",
                  "data: {train: t}\nparallelism: {schedule: dualpipe, pipeline_parallel_degree: "
                  "3}\n",
                  "parallelism.pipeline_parallel_degree: 3 is not allowed; need an even number "
                  "with parallelism.schedule dualpipe (set it to 2 or 4, or the schedule to "
                  "dualpipev)\n"},
        WrongSpec{"Split", "data: {train: t, validation_split: 0.6}\n",
                  "data.validation_split: 0.6 is not allowed; need a finite number from 0 to "
                  "0.5\n"},
        WrongSpec{"Keep", "data: {train: t}\ncheckpoint: {keep_last: 0}\n",
                  "checkpoint.keep_last: 0 is not allowed; need a whole number from 1 to "
                  "1048576\n"},
        WrongSpec{"Several",
                  "name: -x\ndata: {train: [{path: t, weight: -1}, {path: u, wait: 2}]}\n"
                  "training: {steps: 0}\ndevice: tpu\n",
                  "data.train[1].wait: 2 is not allowed; need path or weight\n"
                  "device: tpu is not allowed; need one of auto, cpu, cuda\n"
                  "training.steps: 0 is not allowed; need a whole number from 1 on\n"
                  "name: \"-x\" is not allowed; need lower-case letters, digits and inner hyphens, "
                  "at most 63\n"
                  "data.train[0].weight: -1 is not allowed; need a finite number above 0\n"}),
    [](const ::testing::TestParamInfo<WrongSpec>& test) { return test.param.name; });

// Token files, through `birkhoff validate`: a sound Megatron pair of six tokens, then damage.
struct WrongTokens {
  const char* name;
  std::function<void(const std::string& stem)> damage;
  std::string says;  // of data.train[0].path; STEM stands for the path
  friend void PrintTo(const WrongTokens& wrong, std::ostream* out) { *out << wrong.name; }
};

void EditFile(const std::string& path, const std::function<void(std::string*)>& edit) {
  PosixDisk disk;
  std::string bytes = disk.Read(path).value();
  edit(&bytes);
  WriteBytes(path, bytes);
}

// A damage that puts `byte` at `offset` of the file with `extension`.
std::function<void(const std::string&)> Byte(const char* extension, size_t offset, char byte) {
  return [=](const std::string& stem) {
    EditFile(stem + extension, [=](std::string* bytes) { bytes->at(offset) = byte; });
  };
}

// A damage that cuts the file with `extension`.
std::function<void(const std::string&)> Cut(const char* extension, size_t length) {
  return [=](const std::string& stem) {
    EditFile(stem + extension, [=](std::string* bytes) { bytes->resize(length); });
  };
}

// A damage that puts `now` for `before`, of the same length, in the file with `extension`.
std::function<void(const std::string&)> Replace(const char* extension, const std::string& before,
                                                const std::string& now) {
  return [=](const std::string& stem) {
    EditFile(stem + extension, [=](std::string* bytes) {
      const size_t at = bytes->find(before);
      ASSERT_NE(at, std::string::npos);
      bytes->replace(at, before.size(), now);
    });
  };
}

class WrongTokensTest : public ::testing::TestWithParam<WrongTokens> {};

TEST_P(WrongTokensTest, IsExplainedWithCode64) {
  const TemporaryDirectory directory;
  const std::string stem = directory / "t", job = directory / "job.yaml";
  PosixDisk disk;
  const auto writer = TokenWriter::Create(disk, {stem, TokenFormat::kMegatron, 257});
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->AddDocument(std::vector<int32_t>{1, 2, 3}).ok());
  ASSERT_TRUE((*writer)->AddDocument(std::vector<int32_t>{4, 5, 256}).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  WriteBytes(job, "data: {train: " + stem + "}\ntraining: {sequence_length: 4}\n");
  ASSERT_EQ(RunVerb({"validate", job}).code, 0);  // sound before

  GetParam().damage(stem);
  const VerbResult result = RunVerb({"validate", job});
  EXPECT_EQ(result.code, 64);
  const std::string says = absl::StrReplaceAll(GetParam().says, {{"STEM", stem}});
  // A file that is none, or tokens that do not fit.
  const std::string field = "data.train[0].path: ";
  EXPECT_THAT(result.err, AnyOf(HasSubstr(field + stem + " is not allowed; need a token file (" +
                                          says + "; prepare it with: "),
                                HasSubstr(field + says + " is not allowed; need ")));
  EXPECT_THAT(result.err, HasSubstr("1 problem\n"));
}

INSTANTIATE_TEST_SUITE_P(
    Tokens, WrongTokensTest,
    ::testing::Values(
        WrongTokens{"NoBin", [](const std::string& stem) { std::remove((stem + ".bin").c_str()); },
                    "STEM.bin: No such file or directory"},
        WrongTokens{"NoIndex",
                    [](const std::string& stem) { std::remove((stem + ".idx").c_str()); },
                    "STEM.bin: byte 12: the file ends; need 1024 bytes of llm.c header, or a "
                    "Megatron .idx beside the .bin"},
        WrongTokens{"EmptyBin", Cut(".bin", 0),
                    "STEM.bin: byte 0: the file ends; need 12 bytes, as STEM.idx says: 6 tokens of "
                    "2"},
        WrongTokens{"CutBin", Cut(".bin", 11),
                    "STEM.bin: byte 11: the file ends; need 12 bytes, as STEM.idx says: 6 tokens "
                    "of 2"},
        WrongTokens{"EmptyIndex", Cut(".idx", 0),
                    "STEM.idx: byte 0: the file ends; need 34 bytes of Megatron header"},
        WrongTokens{"CutIndex", Cut(".idx", 60),
                    "STEM.idx: byte 18: 2 sequences and 3 document starts in a file of 60 bytes; "
                    "need 34 + 12 x sequences + 8 x document starts bytes (a file with sequence "
                    "modes is multimodal and cannot be read)"},
        WrongTokens{"Magic", Byte(".idx", 2, 'X'),
                    "STEM.idx: byte 0: wrong magic; need MMIDIDX of a Megatron index"},
        WrongTokens{"Version", Byte(".idx", 9, 3), "STEM.idx: byte 9: version 3; need version 1"},
        WrongTokens{"RealTokens", Byte(".idx", 17, 7),
                    "STEM.idx: byte 17: token type code 7; need an integer type: 1, 2, 3, 4, 5 or "
                    "8"},
        WrongTokens{"Width", Byte(".idx", 17, 4),
                    "STEM.idx: byte 50: sequence 1 points to byte 6 of the .bin; need byte 12, "
                    "where the one before ends"},
        WrongTokens{"Length", Byte(".idx", 37, '\x80'),
                    "STEM.idx: byte 34: sequence 0 has length -2147483645; need a length >= 0"},
        WrongTokens{"Pointer", Byte(".idx", 50, 7),
                    "STEM.idx: byte 50: sequence 1 points to byte 7 of the .bin; need byte 6, "
                    "where the one before ends"},
        WrongTokens{"Document", Byte(".idx", 66, 9),
                    "STEM.idx: byte 66: document 1 starts at sequence 9; need ascending sequences "
                    "from 0 to 2"},
        WrongTokens{"LastDocument", Byte(".idx", 74, 1),
                    "STEM.idx: byte 74: the last document ends at sequence 1; need sequence 2"},
        WrongTokens{"Vocabulary", Byte(".bin", 11, 2),
                    "STEM.bin: byte 10: token 5 is 512; need 0 to 256, because model.vocab_size is "
                    "257; the largest token of the file is 512"},
        WrongTokens{
            "Short",
            [](const std::string& stem) {
              PosixDisk disk;
              const auto writer = TokenWriter::Create(disk, {stem, TokenFormat::kMegatron, 257});
              ASSERT_TRUE((*writer)->AddDocument(std::vector<int32_t>{1, 2, 3, 4}).ok());
              ASSERT_TRUE((*writer)->Finish().ok());
            },
            "STEM with 4 tokens"}),
    [](const ::testing::TestParamInfo<WrongTokens>& test) { return test.param.name; });

// Checkpoints: a sound one of two tensors, then damage.  The code is what the error means to a
// program that is asked to use it (worker/resume.h says which one is used instead).
struct WrongCheckpoint {
  const char* name;
  std::function<void(const std::string& directory)> damage;
  std::string says;
  friend void PrintTo(const WrongCheckpoint& wrong, std::ostream* out) { *out << wrong.name; }
};

absl::Status ReadCheckpoint(Disk& disk, const std::string& directory) {
  const auto reader = CheckpointReader::Open(disk, directory);
  if (!reader.ok()) return reader.status();
  std::vector<float> values(4);
  for (const auto& [name, tensor] : (*reader)->manifest().tensors) {
    const absl::Status status = (*reader)->Read(name, tensor.shape, values.data());
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

std::string WriteCheckpoint(Disk& disk, const std::string& root) {
  Manifest manifest;
  manifest.job = "jobs/t";
  manifest.attempt = 1;
  manifest.step = 7;
  const std::string partial = absl::StrCat(root, "/", PartialCheckpointName(7, manifest.job, 1));
  EXPECT_TRUE(disk.CreateDirectories(partial).ok());
  const std::vector<float> values = {1, 2, 3, 4};
  const std::vector<TensorView> tensors = {{"a", {2, 2}, values.data()}, {"b", {4}, values.data()}};
  const auto written = WriteShard(disk, partial + "/" + ShardFileName(0), tensors);
  EXPECT_TRUE(written.ok()) << written.status();
  EXPECT_TRUE(AddShard(disk, partial, ShardFileName(0), *written, manifest).ok());
  EXPECT_TRUE(CommitCheckpointDirectory(disk, root, manifest).ok());
  return absl::StrCat(root, "/", CheckpointName(7));
}

class WrongCheckpointTest : public ::testing::TestWithParam<WrongCheckpoint> {};

TEST_P(WrongCheckpointTest, IsExplainedWithCode64) {
  const TemporaryDirectory root;
  PosixDisk disk;
  const std::string directory = WriteCheckpoint(disk, root.path());
  ASSERT_TRUE(ReadCheckpoint(disk, directory).ok());  // sound before

  GetParam().damage(directory);
  const absl::Status status = ReadCheckpoint(disk, directory);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(directory + GetParam().says));
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadSpec);
}

constexpr char kShard[] = "/rank-00000.safetensors";

INSTANTIATE_TEST_SUITE_P(
    Checkpoints, WrongCheckpointTest,
    ::testing::Values(
        WrongCheckpoint{"NoManifest",
                        [](const std::string& at) { std::remove((at + "/manifest.json").c_str()); },
                        "/manifest.json: missing"},
        WrongCheckpoint{"EmptyManifest", Cut("/manifest.json", 0),
                        "/manifest.json: [json.exception.parse_error.101] parse error at line 1"},
        WrongCheckpoint{"CutManifest", Cut("/manifest.json", 100),
                        "/manifest.json: [json.exception.parse_error.101] parse error at line 8"},
        WrongCheckpoint{"NewerManifest",
                        Replace("/manifest.json", "\"format_version\": 1", "\"format_version\": 2"),
                        "/manifest.json: format_version is 2; this program reads 1"},
        WrongCheckpoint{"EditedManifest", Replace("/manifest.json", "\"step\": 7", "\"step\": 8"),
                        "/manifest.json: checksum is "},
        WrongCheckpoint{"NoShard",
                        [](const std::string& at) { std::remove((at + kShard).c_str()); },
                        "/rank-00000.safetensors: missing"},
        WrongCheckpoint{"EmptyShard", Cut(kShard, 0),
                        "/rank-00000.safetensors: has 0 bytes; need 240"},
        WrongCheckpoint{"CutShard", Cut(kShard, 239),
                        "/rank-00000.safetensors: has 239 bytes; need 240"},
        WrongCheckpoint{
            "HeaderLength", Byte(kShard, 7, '\x7f'),
            "/rank-00000.safetensors: the header says it has 9151314442816848072 bytes; "
            "the file has 232 after the length"},
        WrongCheckpoint{"Header", Replace(kShard, "\"shape\":[2,2]", "\"shape\":[4,1]"),
                        "/rank-00000.safetensors: the header's checksum is "},
        WrongCheckpoint{"HeaderIsNoJson", Byte(kShard, 8, 'X'),
                        "/rank-00000.safetensors: the header cannot be read: "},
        WrongCheckpoint{"FirstTensor", Byte(kShard, 208, 1),
                        "/rank-00000.safetensors: tensor a has checksum "},
        WrongCheckpoint{"LastByte", Byte(kShard, 239, 1),
                        "/rank-00000.safetensors: tensor b has checksum "}),
    [](const ::testing::TestParamInfo<WrongCheckpoint>& test) { return test.param.name; });

// The command line itself.
TEST(CommandLineTest, RefusesWhatItDoesNotKnow) {
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"fly"},
                                             {"validate"},
                                             {"validate", "x", "--colour"},
                                             {"-o", "xml", "version"},
                                             {"validate", "x", "--set"},
                                             {"plan", "x", "--memory-bytes", "much"}}) {
    const VerbResult result = RunVerb(words);
    EXPECT_EQ(result.code, 64);
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err, "");
  }
}

TEST(CommandLineTest, NamesTheJobFileThatCannotBeRead) {
  const VerbResult result = RunVerb({"validate", "/nowhere/job.yaml"});
  EXPECT_EQ(result.code, 64);
  EXPECT_THAT(result.err, HasSubstr("/nowhere/job.yaml: open: No such file or directory"));
  EXPECT_THAT(result.err, HasSubstr("configs/ has examples"));
}

}  // namespace
}  // namespace birkhoff
