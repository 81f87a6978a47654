// Job files and the files that they name.
#include "cli/spec_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "core/format/token_file.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::TemporaryDirectory;

class SpecFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto writer = TokenWriter::Create(disk_, {directory_ / "t", TokenFormat::kMegatron, 257});
    ASSERT_TRUE(writer.ok() && (*writer)->AddDocument(std::vector<int32_t>(500, 7)).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
    Write("job.yaml", "data: {train: " + directory_ / "t" + "}\n");
  }
  void Write(const std::string& name, const std::string& bytes) {
    const auto file = disk_.Create(directory_ / name);
    ASSERT_TRUE(file.ok() && (*file)->Append(bytes).ok() && (*file)->Close().ok());
  }
  std::vector<std::string> Read(const std::vector<std::string>& overrides, bool spec_only = false) {
    std::vector<std::string> lines;
    for (const Problem& problem :
         ReadSpecFile({directory_ / "job.yaml", overrides, spec_only}, disk_, &spec_)) {
      lines.push_back(ProblemToString(problem));
    }
    return lines;
  }
  // The bytes of a SentencePiece ModelProto: its first field is the list of pieces.
  static std::string Model(int pieces) {
    std::string bytes;
    for (int i = 0; i < pieces; ++i) bytes += std::string("\x0a\x03\x0a\x01", 4) + "x";
    return bytes + std::string("\x12\x02\x08\x01", 4);  // a field that is no piece
  }

  const TemporaryDirectory directory_;
  PosixDisk disk_;
  JobSpec spec_;
};

TEST_F(SpecFileTest, ResolvesTheVocabularyOfBytes) {
  EXPECT_THAT(Read({}), IsEmpty());
  EXPECT_EQ(spec_.model.vocab_size, 257);
}

TEST_F(SpecFileTest, MakesEveryPathAbsolute) {
  const std::string here = std::filesystem::current_path().string();
  ASSERT_THAT(Read({"data.train=[a/../b, /c]", "data.validation=v", "data.tokenizer=m.model",
                    "checkpoint.directory=./k"},
                   /*spec_only=*/true),
              IsEmpty());
  EXPECT_EQ(spec_.data.train[0].path, here + "/b");
  EXPECT_EQ(spec_.data.train[1].path, "/c");
  EXPECT_EQ(spec_.data.validation, here + "/v");
  EXPECT_EQ(spec_.data.tokenizer, here + "/m.model");
  EXPECT_EQ(spec_.checkpoint.directory, here + "/k");
}

TEST_F(SpecFileTest, APipeWhoseTextIsKeptIsReadAgainUnderOtherOverrides) {
  std::istringstream in("data: {train: " + directory_ / "t" + "}\n");
  SpecFile file;
  file.path = "-";
  file.in = &in;
  KeepText(disk_, &file);
  for (const char* seed : {"7", "8"}) {
    file.overrides = {std::string("training.seed=") + seed};
    EXPECT_THAT(ReadSpecFile(file, disk_, &spec_), IsEmpty());
    EXPECT_EQ(std::to_string(spec_.training.seed), seed);
  }
}

TEST_F(SpecFileTest, LeavesEmptyPathsAndBytesAlone) {
  ASSERT_THAT(Read({}), IsEmpty());
  EXPECT_EQ(spec_.data.validation, "");
  EXPECT_EQ(spec_.checkpoint.directory, "");
  EXPECT_EQ(spec_.data.tokenizer, "bytes");
}

TEST_F(SpecFileTest, CountsThePiecesOfASentencePieceModel) {
  Write("m.model", Model(300));
  EXPECT_EQ(CountPieces(disk_, directory_ / "m.model").value_or(-1), 300);
  EXPECT_THAT(Read({"data.tokenizer=" + directory_ / "m.model"}), IsEmpty());
  EXPECT_EQ(spec_.model.vocab_size, 300);
}

TEST_F(SpecFileTest, SaysWhatIsNoModel) {
  Write("m.model", "not a model");
  const std::string path = directory_ / "m.model";
  EXPECT_THAT(Read({"data.tokenizer=" + path}),
              ElementsAre("data.tokenizer: " + path +
                          " is not allowed; need bytes, none, or a SentencePiece .model (" + path +
                          ": is not a SentencePiece .model; tokens made elsewhere: "
                          "data.tokenizer none, and model.vocab_size)"));
  EXPECT_EQ(Read({"data.tokenizer=" + path, "model.vocab_size=257"}).size(), 1u);
  EXPECT_EQ(Read({"data.tokenizer=gpt2", "model.vocab_size=257"}).size(), 1u);
  Write("m.model", "");
  EXPECT_THAT(std::string(CountPieces(disk_, path).status().message()), path + ": holds no pieces");
}

TEST_F(SpecFileTest, TokensMadeElsewhereNeedAVocabularyAndNoTokenizer) {
  EXPECT_THAT(Read({"data.tokenizer=none", "model.vocab_size=8"}), IsEmpty());
  EXPECT_EQ(spec_.data.tokenizer, "none");
  EXPECT_THAT(Read({"data.tokenizer=none"}),
              ElementsAre("model.vocab_size: 0 is not allowed; need the number of tokens of the "
                          "data, because data.tokenizer is none (GPT-2's token files have 50257)"));
}

// The remedy must not be a command that overwrites the user's own token file.
TEST_F(SpecFileTest, TokensBeyondTheVocabularyNameTheLargestAndTheField) {
  const std::vector<std::string> problems = Read({"data.tokenizer=none", "model.vocab_size=7"});
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0], ::testing::HasSubstr("the largest token of the file is 7"));
  EXPECT_THAT(problems[0], ::testing::HasSubstr("set model.vocab_size above the largest token"));
  EXPECT_THAT(problems[0], ::testing::Not(::testing::HasSubstr("data tokenize")));
}

TEST_F(SpecFileTest, SaysWhenValidationHoldsFewerSamplesThanAreAskedFor) {
  ASSERT_THAT(Read({"data.validation=" + directory_ / "t", "training.sequence_length=100",
                    "training.validation_batches=3", "training.micro_batch_size=2"}),
              IsEmpty());
  EXPECT_EQ(
      ValidationNotice(spec_),
      "validation holds 4 samples of 100 tokens; 3 training.validation_batches of 2 sequences "
      "look at 6, so some count more than once");
  ASSERT_THAT(Read({"data.validation=" + directory_ / "t", "training.sequence_length=100",
                    "training.validation_batches=2", "training.micro_batch_size=2"}),
              IsEmpty());
  EXPECT_EQ(ValidationNotice(spec_), "");
}

TEST_F(SpecFileTest, NamesEveryTokenFileThatIsWrong) {
  const std::vector<std::string> problems = Read(
      {"data.train=[" + directory_ / "x" + ", " + directory_ / "t" + ", " + directory_ / "y" + "]",
       "data.validation=" + directory_ / "z"});
  ASSERT_EQ(problems.size(), 3u);
  EXPECT_THAT(problems[0], ::testing::StartsWith("data.train[0].path: " + directory_ / "x is not"));
  EXPECT_THAT(problems[1], ::testing::StartsWith("data.train[2].path: " + directory_ / "y is not"));
  EXPECT_THAT(problems[2], ::testing::StartsWith("data.validation: " + directory_ / "z is not"));
  EXPECT_THAT(problems[2], ::testing::HasSubstr("prepare it with: birkhoff data tokenize"));
}

}  // namespace
}  // namespace birkhoff
