// birkhoff generate and birkhoff eval, through the command line: what goes out, and what is refused
// with which code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/inference/inference_program.h"
#include "core/base/printable.h"
#include "core/format/token_file.h"
#include "core/format/tokenizer.h"
#include "tests/testing/temporary_directory.h"
#include "tests/worker/inference/random_checkpoint.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

class InferenceProgramTest : public ::testing::Test {
 protected:
  InferenceProgramTest() {
    spec_.data.validation = directory_ / "val";
    Commit(spec_);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 100; ++i) tokens.push_back(i % 10 == 9 ? 256 : 'a' + i % 26);
    Tokens("val", tokens);
  }
  void Commit(const JobSpec& spec) {
    std::filesystem::remove_all(Out());
    testing::CommitRandomCheckpoint(disk_, Out() + "/checkpoints", spec);
  }
  void Tokens(const std::string& name, const std::vector<int32_t>& tokens, int vocab_size = 257) {
    auto writer =
        *TokenWriter::Create(disk_, {.path = directory_ / name, .vocab_size = vocab_size});
    EXPECT_TRUE(writer->AddDocument(tokens).ok() && writer->Finish().ok());
  }
  // A model of 330 pieces that has seen words of streams.
  std::string TrainPieces() {
    std::string corpus;
    for (int i = 0; i < 400; ++i) absl::StrAppend(&corpus, "words of streams ", i % 31, "\n");
    const std::string path = directory_ / "m.model";
    EXPECT_TRUE(TrainTokenizer({corpus}, 330, path).ok());
    return path;
  }
  std::string Out() const { return directory_ / "out"; }

  int Run(const std::vector<std::string>& words, bool to_terminal = false) {
    out_.str("");
    err_.str("");
    std::vector<const char*> argv = {"birkhoff"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    return RunInferenceProgram(static_cast<int>(argv.size()), argv.data(),
                               {&out_, &err_, /*terminal=*/false, ""}, to_terminal);
  }
  // Exit code 64, nothing on out, these words on err.
  void ExpectRefused(const std::vector<std::string>& words, const std::string& message) {
    EXPECT_EQ(Run(words), 64) << message;
    EXPECT_EQ(out_.str(), "") << message;
    EXPECT_THAT(err_.str(), HasSubstr(message));
  }
  Json RunJson(std::vector<std::string> words) {
    words.insert(words.end(), {"-o", "json"});
    EXPECT_EQ(Run(words), 0) << err_.str();
    return Json::parse(out_.str(), nullptr, /*allow_exceptions=*/false);
  }

  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
  JobSpec spec_ = testing::SmallSpecOfBytes();
  std::ostringstream out_, err_;
};

TEST_F(InferenceProgramTest, GenerateWritesThePromptAndWhatFollows) {
  ASSERT_EQ(Run({"generate", Out(), "--prompt", "ab", "--max-tokens", "30"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), StartsWith("ab"));
  EXPECT_EQ(out_.str().back(), '\n');
  EXPECT_EQ(err_.str(),
            absl::StrCat(Out(), "/checkpoints/step-00000007: step 7, context 16 tokens\n"));
}

TEST_F(InferenceProgramTest, GenerateAsJsonSaysTheSame) {
  ASSERT_EQ(Run({"generate", Out(), "--prompt", "ab", "--max-tokens", "30", "--seed", "5"}), 0);
  const std::string text = out_.str();
  const Json json =
      RunJson({"generate", Out(), "--prompt", "ab", "--max-tokens", "30", "--seed", "5"});
  EXPECT_EQ(json["prompt"], "ab");
  EXPECT_EQ(json["prompt_tokens"], Json({'a', 'b'}));
  EXPECT_EQ(json["step"], 7);
  EXPECT_EQ(json["seed"], 5);
  const auto tokens = json["tokens"].get<std::vector<int>>();
  std::string want = "ab";
  for (const int token : tokens) want += static_cast<char>(token);
  EXPECT_EQ(text.substr(0, want.size()), want);
  EXPECT_EQ(json["stop"], tokens.size() == 30 ? "max_tokens" : "end_of_text");
}

// The end of a document, token 256, is made the likeliest by a head that knows nothing else.
TEST_F(InferenceProgramTest, GenerateStopsAtTheEndOfADocument) {
  int ended = 0;
  for (int seed = 0; seed < 20; ++seed) {
    const Json json = RunJson({"generate", Out(), "--seed", std::to_string(seed), "--max-tokens",
                               "400", "--temperature", "1.5"});
    const auto tokens = json["tokens"].get<std::vector<int>>();
    for (const int token : tokens) EXPECT_LT(token, 256);
    const bool stopped = json["stop"] == "end_of_text";
    EXPECT_EQ(stopped, tokens.size() < 400);
    ended += stopped ? 1 : 0;
  }
  EXPECT_GT(ended, 0);
}

TEST_F(InferenceProgramTest, APromptMayBeEmptyOrAnyBytes) {
  EXPECT_EQ(RunJson({"generate", Out(), "--max-tokens", "2"})["prompt_tokens"], Json({256}));
  const Json json = RunJson({"generate", Out(), "--prompt", "\xff\xfe", "--max-tokens", "2"});
  EXPECT_EQ(json["prompt_tokens"], Json({255, 254}));
  EXPECT_EQ(json["prompt"], "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_F(InferenceProgramTest, ATerminalGetsNoBytesThatMoveItsCursor) {
  const std::vector<std::string> words = {"generate",  Out(),          "--prompt",
                                          "\x1b[2J\n", "--max-tokens", "100"};
  ASSERT_EQ(Run(words, /*to_terminal=*/true), 0) << err_.str();
  EXPECT_THAT(out_.str(), StartsWith("\\x1b[2J\n"));
  EXPECT_EQ(PrintableLines(out_.str()), out_.str());
  ASSERT_EQ(Run(words), 0);
  EXPECT_THAT(out_.str(), StartsWith("\x1b[2J\n"));
}

TEST_F(InferenceProgramTest, APromptBeyondTheContextIsReadFromItsEndWithAWord) {
  ASSERT_EQ(Run({"generate", Out(), "--prompt", std::string(40, 'x'), "--max-tokens", "1"}), 0);
  EXPECT_THAT(err_.str(), HasSubstr("the prompt has 40 tokens: the last 16 were read"));
}

TEST_F(InferenceProgramTest, TokensMadeElsewhereAreNumbersWhereThatIsAskedFor) {
  spec_.data.tokenizer = "none";
  Commit(spec_);
  ExpectRefused({"generate", Out(), "--prompt", "ab"}, "data.tokenizer: none); give --tokenizer");
  ASSERT_EQ(Run({"generate", Out(), "--tokenizer", "none", "--prompt", "5 256", "--max-tokens", "3",
                 "--temperature", "0"}),
            0)
      << err_.str();
  EXPECT_THAT(out_.str(), StartsWith("5 256 "));
  ExpectRefused({"generate", Out(), "--tokenizer", "none"}, "the prompt is empty");
  ExpectRefused({"generate", Out(), "--tokenizer", "none", "--prompt", "5 x"}, "'x' is no token");
}

TEST_F(InferenceProgramTest, PiecesAreTheRunsOwnAndNeedCharacters) {
  spec_.data.tokenizer = TrainPieces();
  spec_.model.vocab_size = 340;  // ten more than there are pieces
  Commit(spec_);
  const Json json = RunJson(
      {"generate", Out(), "--prompt", "words of", "--max-tokens", "40", "--temperature", "5"});
  for (const int token : json["tokens"].get<std::vector<int>>()) EXPECT_LT(token, 330);
  EXPECT_LE(json["prompt_tokens"].size(), 4u);
  EXPECT_EQ(Run({"generate", Out(), "--prompt", "a\xff"}), 64);
  EXPECT_THAT(err_.str(), HasSubstr("the prompt is not UTF-8"));
  std::filesystem::remove(directory_ / "m.model");
  ExpectRefused({"generate", Out()}, "m.model: open: No such file");
}

TEST_F(InferenceProgramTest, EvalMeasuresTheRunsDataOrOthers) {
  const Json json = RunJson({"eval", Out()});
  EXPECT_EQ(json["sequences"], 6);  // of 100 tokens
  EXPECT_EQ(json["tokens"], 96);
  EXPECT_EQ(json["data"], directory_ / "val");
  EXPECT_NEAR(json["perplexity"].get<double>(), std::exp(json["loss"].get<double>()), 1e-9);
  // Nine of ten tokens are bytes; 96 targets from the second token on hold ten ends.
  EXPECT_NEAR(json["bits_per_byte"].get<double>(),
              json["loss"].get<double>() / std::log(2.0) * 96 / 87, 1e-9);
  Tokens("other", std::vector<int32_t>(40, 'x'));
  EXPECT_EQ(RunJson({"eval", Out(), "--data", directory_ / "other"})["tokens"], 32);
  EXPECT_EQ(RunJson({"eval", Out(), "--sequences", "2"})["tokens"], 32);
  ASSERT_EQ(Run({"eval", Out()}), 0);
  EXPECT_THAT(out_.str(), AllOf(StartsWith("loss           "), HasSubstr("perplexity     "),
                                HasSubstr("bits per byte  "),
                                HasSubstr("tokens         96 in 6 sequences of 16, of ")));
}

TEST_F(InferenceProgramTest, EvalWithoutATokenizerHasNoBitsPerByte) {
  spec_.data.tokenizer = "/nowhere/m.model";
  Commit(spec_);
  EXPECT_TRUE(RunJson({"eval", Out()})["bits_per_byte"].is_null());
  EXPECT_THAT(err_.str(), HasSubstr("no bits per byte: the run's tokenizer: /nowhere/m.model"));
  EXPECT_TRUE(RunJson({"eval", Out(), "--tokenizer", "none"})["bits_per_byte"].is_null());
  EXPECT_EQ(err_.str(), "");
  ExpectRefused({"eval", Out(), "--tokenizer", "/elsewhere/m"}, "/elsewhere/m: open: No such file");
}

struct Refusal {
  std::vector<std::string> words;
  std::string message;
};

TEST_F(InferenceProgramTest, WrongInputIsNamed) {
  Tokens("short", std::vector<int32_t>(16, 'x'));
  Tokens("empty", {});
  Tokens("beyond", std::vector<int32_t>(40, 300), 400);
  const std::string partial = Out() + "/checkpoints/step-00000009.small.attempt-1.partial";
  ASSERT_TRUE(disk_.CreateDirectories(partial).ok());
  for (const Refusal& refusal : std::vector<Refusal>{
           {{"generate"}, "checkpoint is required"},
           {{"generate", directory_ / "nothing"}, "nothing: there is no such directory"},
           {{"generate", directory_.path()}, "holds no committed checkpoint"},
           {{"generate", directory_ / "val.bin"}, "val.bin: is a file; need an output directory"},
           {{"generate", partial}, "was never finished"},
           {{"generate", Out(), "--max-tokens", "0"}, "--max-tokens"},
           {{"generate", Out(), "--max-tokens", "many"}, "--max-tokens"},
           {{"generate", Out(), "--temperature", "-0.5"}, "--temperature: -0.5 is not allowed"},
           {{"generate", Out(), "--temperature", "nan"}, "--temperature: nan is not allowed"},
           {{"generate", Out(), "--temperature", "warm"}, "--temperature"},
           {{"generate", Out(), "--top-k", "-3"}, "--top-k: -3 is not allowed"},
           {{"generate", Out(), "--top-p", "1.01"}, "--top-p: 1.01 is not allowed"},
           {{"generate", Out(), "--seed", "-1"}, "--seed"},
           {{"generate", Out(), "-o", "yaml"}, "yaml not in"},
           {{"generate", Out(), "--tokenizer", directory_.path()}, "is a directory"},
           {{"generate", Out(), "--sequences", "3"}, "--sequences"},
           {{"eval", directory_ / "nothing"}, "nothing: there is no such directory"},
           {{"eval", Out(), "--sequences", "-1"}, "--sequences"},
           {{"eval", Out(), "--data", directory_ / "nothing"}, "nothing.bin: No such file"},
           {{"eval", Out(), "--data", directory_ / "short"}, "need at least 17 tokens"},
           {{"eval", Out(), "--data", directory_ / "empty"}, "need at least 17 tokens"},
           {{"eval", Out(), "--data", directory_ / "beyond"}, "300"},
       }) {
    ExpectRefused(refusal.words, refusal.message);
  }
  spec_.data.validation = directory_ / "gone";
  Commit(spec_);
  ExpectRefused({"eval", Out()}, "; or give --data, another token file");
  spec_.data.validation = "";
  Commit(spec_);
  ExpectRefused({"eval", Out()}, "the run had no validation data; need --data");
}

TEST_F(InferenceProgramTest, WhatCannotBeWrittenIsNoSuccess) {
  std::ostringstream full;
  full.setstate(std::ios::badbit);
  const std::vector<std::string> out = {Out()};
  const char* const argv[] = {"birkhoff", "generate", out[0].c_str(), "--max-tokens", "100000000"};
  EXPECT_EQ(RunInferenceProgram(5, argv, {&full, &err_, false, ""}, false), 71);
  EXPECT_THAT(err_.str(), HasSubstr("the standard output cannot be written"));
}

TEST_F(InferenceProgramTest, HelpShowsDefaultsAndAnExample) {
  ASSERT_EQ(Run({"generate", "--help"}), 0);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("birkhoff generate"), HasSubstr("--temperature"),
                                HasSubstr("=0.8"), HasSubstr("Example: birkhoff generate")));
  ASSERT_EQ(Run({"eval", "--help"}), 0);
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("--data"), HasSubstr("Example: birkhoff eval")));
}

}  // namespace
}  // namespace birkhoff
