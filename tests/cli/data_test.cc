// birkhoff data: tokenize, train-tokenizer, inspect, through the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/data/data_program.h"
#include "core/base/disk.h"
#include "core/format/token_file.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DataTest : public ::testing::Test {
 protected:
  int Run(const std::vector<std::string>& arguments) {
    out_.str("");
    err_.str("");
    std::vector<const char*> argv = {"birkhoff data"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return RunDataProgram(static_cast<int>(argv.size()), argv.data(), {&out_, &err_, false, ""});
  }
  std::string Write(const std::string& name, const std::string& text) {
    const auto file = *disk_.Create(directory_ / name);
    EXPECT_TRUE(file->Append(text).ok() && file->Close().ok());
    return directory_ / name;
  }
  std::vector<int32_t> Tokens(const std::string& name) {
    const auto file = TokenFile::Open(directory_ / name);
    EXPECT_TRUE(file.ok()) << file.status();
    if (!file.ok()) return {};
    std::vector<int32_t> tokens(static_cast<size_t>((*file)->num_tokens()));
    (*file)->Read(0, tokens);
    return tokens;
  }

  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
  std::ostringstream out_, err_;
};

TEST_F(DataTest, TokenizesTextWithAnEndBehindEachDocument) {
  const std::string a = Write("a.txt", "hi"), b = Write("b.txt", "\n");
  ASSERT_EQ(Run({"tokenize", "--input", a, b, "--output", directory_ / "t"}), 0) << err_.str();
  EXPECT_THAT(Tokens("t"), ElementsAre('h', 'i', 256, '\n', 256));
  EXPECT_EQ(out_.str(), directory_ / "t.bin\n");
  EXPECT_EQ(err_.str(), "tokenized 2 documents: 5 training tokens (vocabulary 257)\n");
}

TEST_F(DataTest, TokenizesTheFieldOfJsonLines) {
  const std::string input =
      Write("a.jsonl", "{\"body\": \"x\\u00e9\", \"id\": 1}\n\n{\"body\": \"\"}\n");
  ASSERT_EQ(Run({"tokenize", "--input", input, "--jsonl", "--field", "body", "--format", "llmc",
                 "--output", directory_ / "t"}),
            0)
      << err_.str();
  EXPECT_THAT(Tokens("t"), ElementsAre('x', 0xc3, 0xa9, 256, 256));
}

TEST_F(DataTest, ValidationShareSplitsByWholeDocuments) {
  std::vector<std::string> arguments = {"tokenize", "--validation-share", "0.1",
                                        "--output", directory_ / "t",     "--input"};
  for (int i = 0; i < 60; ++i) {
    arguments.push_back(Write(absl::StrCat("d", i), std::string(50 + i * 7 % 90, 'a' + i % 26)));
  }
  ASSERT_EQ(Run(arguments), 0) << err_.str();
  const double train = static_cast<double>(Tokens("t-train").size());
  const double validation = static_cast<double>(Tokens("t-val").size());
  EXPECT_NEAR(validation / (train + validation), 0.1, 0.02);
  EXPECT_EQ((*TokenFile::Open(directory_ / "t-train"))->documents().size() +
                (*TokenFile::Open(directory_ / "t-val"))->documents().size(),
            62u);
}

TEST_F(DataTest, TrainsATokenizerAndUsesIt) {
  std::string text;
  for (int i = 0; i < 500; ++i) absl::StrAppend(&text, "sentence ", i % 37, " about streams\n");
  const std::string input = Write("a.txt", text), model = directory_ / "m.model";
  ASSERT_EQ(Run({"train-tokenizer", "--input", input, "--vocab-size", "330", "--output", model}), 0)
      << err_.str();
  ASSERT_EQ(Run({"tokenize", "--input", input, "--tokenizer", model, "--output", directory_ / "t"}),
            0)
      << err_.str();
  ASSERT_EQ(Run({"inspect", directory_ / "t", "--tokenizer", model, "--count", "9", "-o", "json"}),
            0)
      << err_.str();
  const nlohmann::json facts = nlohmann::json::parse(out_.str());
  EXPECT_EQ(facts["documents"], 1);
  EXPECT_LT(facts["tokens"], text.size() / 2);
  EXPECT_EQ(facts["text"], text.substr(0, facts["text"].get<std::string>().size()));
}

TEST_F(DataTest, InspectShowsFacts) {
  ASSERT_EQ(Run({"tokenize", "--input", Write("a", "abc"), "--output", directory_ / "t"}), 0);
  ASSERT_EQ(Run({"inspect", directory_ / "t", "--tokenizer", "bytes"}), 0) << err_.str();
  EXPECT_EQ(out_.str(), absl::StrCat("path        ", directory_ / "t.bin",
                                     "\nformat      megatron\ntype        uint16\ntokens      4\n"
                                     "documents   1\nfirst       0\nshown       [97,98,99,256]\n"
                                     "text        abc\n"));
}

struct Wrong {
  std::vector<std::string> arguments;  // "@" stands for the test's directory
  std::string says;
};

TEST_F(DataTest, SaysWhatIsWrongWithExitCode64) {
  Write("good.txt", "text");
  Write("bad.jsonl", "{\"text\": \"fine\"}\nnot json\n");
  Write("field.jsonl", "{\"text\": 5}\n");
  const std::vector<Wrong> all = {
      {{"tokenize", "--output", "@/t"}, "--input is required"},
      {{"tokenize", "--input", "@/good.txt"}, "--output is required"},
      {{"tokenize", "--input", "@/none.txt", "--output", "@/t"}, "none.txt: open: No such file"},
      {{"tokenize", "--input", "@/bad.jsonl", "--jsonl", "--output", "@/t"},
       "bad.jsonl:2: not a JSON object"},
      {{"tokenize", "--input", "@/field.jsonl", "--jsonl", "--output", "@/t"},
       "field.jsonl:1: no text in field \"text\""},
      {{"tokenize", "--input", "@/good.txt", "--tokenizer", "words", "--output", "@/t"},
       "need bytes, or the path of a SentencePiece .model"},
      {{"tokenize", "--input", "@/good.txt", "--output", "@/t", "--validation-share", "0.7"},
       "--validation-share: 0.7 is not allowed; need 0 to 0.5"},
      {{"tokenize", "--input", "@/good.txt", "--output", "@/t", "--validation-share", "0.1"},
       "1 documents leave none for validation"},
      {{"tokenize", "--input", "@/good.txt", "--output", "@/t", "--format", "csv"}, "csv"},
      {{"inspect", "@/none"}, "none.bin: No such file"},
      {{"inspect", "@/good.txt"}, "good.txt.bin: No such file"},
      {{"train-tokenizer", "--input", "@/good.txt", "--output", "@/t.txt"},
       "need a name that ends in .model"},
      {{"train-tokenizer", "--input", "@/good.txt", "--vocab-size", "7", "--output", "@/t.model"},
       "Value 7 not in range"},
      {{"bogus"}, "A subcommand is required"},
      {{}, "A subcommand is required"},
  };
  for (Wrong wrong : all) {
    for (std::string& argument : wrong.arguments) {
      if (argument[0] == '@') argument = directory_.path() + argument.substr(1);
    }
    EXPECT_EQ(Run(wrong.arguments), 64) << wrong.says;
    EXPECT_THAT(err_.str(), HasSubstr(wrong.says));
    EXPECT_EQ(out_.str(), "") << wrong.says;
  }
}

}  // namespace
}  // namespace birkhoff
