// birkhoff data: tokenize, train-tokenizer, inspect, through the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "cli/data/data_program.h"
#include "cli/data/tokenize.h"
#include "core/base/disk.h"
#include "core/base/rng.h"
#include "core/format/token_file.h"
#include "tests/testing/fault_disk.h"
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
    EXPECT_TRUE((*file)->Read(0, tokens, 1 << 30).ok());
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

TEST(IsHeldOutTest, TakesItsShareWhateverTheLengths) {
  for (const double share : {0.5, 0.3, 0.1, 0.05, 0.001}) {
    Rng rng(7);
    int64_t held = 0, held_tokens = 0, tokens = 0;
    constexpr int kDocuments = 20'000;
    for (int64_t document = 0; document < kDocuments; ++document) {
      const int64_t length = 1 + static_cast<int64_t>(std::exp(4.0 + rng.Normal()));
      tokens += length;
      if (!IsHeldOut(document, share)) continue;
      ++held;
      held_tokens += length;
    }
    EXPECT_NEAR(static_cast<double>(held), share * kDocuments, 1.0);
    // Means of training and validation are alike: within four standard deviations.
    const double mean = static_cast<double>(tokens) / kDocuments;
    EXPECT_NEAR(static_cast<double>(held_tokens) / static_cast<double>(held), mean,
                4 * 1.4 * mean / std::sqrt(static_cast<double>(held)))
        << share;
  }
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

// gzip of `text`, as one member.
std::string Gzip(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST_F(DataTest, ReadsPipesToTheirEnd) {
  for (const bool jsonl : {false, true}) {
    const std::string pipe = directory_ / (jsonl ? "j" : "p");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    std::thread writer([&] {
      const auto file = *disk_.OpenAppend(pipe);
      const std::string text(100'000, 'a');
      const std::string line = absl::StrCat("{\"text\": \"", text, "\"}\n");
      EXPECT_TRUE(file->Append(jsonl ? line + line : text + text).ok());
    });
    std::vector<std::string> arguments = {"tokenize", "--input", pipe, "--output", pipe + "-t"};
    if (jsonl) arguments.push_back("--jsonl");
    const int code = Run(arguments);
    writer.join();
    ASSERT_EQ(code, 0) << err_.str();
    EXPECT_EQ(Tokens(jsonl ? "j-t" : "p-t").size(), jsonl ? 200'002u : 200'001u);
  }
}

TEST_F(DataTest, TakesFoldersRecursivelyInTheOrderOfTheirNames) {
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "in/b/c").ok());
  Write("in/b/c/1", "3"), Write("in/a", "1"), Write("in/b/0", "2"), Write("in/z", "4");
  ASSERT_EQ(Run({"tokenize", "--input", directory_ / "in", "--output", directory_ / "t"}), 0)
      << err_.str();
  EXPECT_THAT(Tokens("t"), ElementsAre('1', 256, '2', 256, '3', 256, '4', 256));
}

TEST_F(DataTest, TakesGzipWhateverItIsCalled) {
  std::string text;
  for (int i = 0; i < 300'000; ++i) absl::StrAppend(&text, i, " ");
  Write("a", Gzip("one ") + Gzip(text));  // two members, as parallel compressors write them
  ASSERT_EQ(Run({"tokenize", "--input", directory_ / "a", "--output", directory_ / "t"}), 0)
      << err_.str();
  EXPECT_EQ(Tokens("t").size(), text.size() + 5);
  Write("b.jsonl.gz", Gzip("{\"text\": \"x\"}\n{\"text\": \"y\"}"));
  ASSERT_EQ(Run({"tokenize", "--input", directory_ / "b.jsonl.gz", "--jsonl", "--output",
                 directory_ / "u"}),
            0)
      << err_.str();
  EXPECT_THAT(Tokens("u"), ElementsAre('x', 256, 'y', 256));
}

TEST_F(DataTest, CutGzipIsAnErrorAtEveryLength) {
  const std::string whole = Gzip(std::string(3000, 'q') + "some more text");
  for (size_t length = 2; length < whole.size(); ++length) {
    Write("a.gz", whole.substr(0, length));
    EXPECT_EQ(Run({"tokenize", "--input", directory_ / "a.gz", "--output", directory_ / "t"}), 64)
        << length;
    EXPECT_THAT(*disk_.List(directory_.path()), ElementsAre("a.gz")) << "nothing is left";
  }
}

TEST_F(DataTest, ReplacesOutputsWhenForcedOnly) {
  const std::string a = Write("a.txt", "hi");
  for (const char* format : {"megatron", "llmc"}) {
    const std::vector<std::string> words = {"tokenize",       "--input",  a,     "--output",
                                            directory_ / "t", "--format", format};
    std::vector<std::string> forced = words;
    forced.push_back("--force");
    ASSERT_EQ(Run(forced), 0) << err_.str();
    Write("a.txt", "longer");
    EXPECT_EQ(Run(words), 64);
    EXPECT_THAT(err_.str(), HasSubstr("t.bin: is there; give another --output, or --force"));
    EXPECT_THAT(Tokens("t"), ElementsAre('h', 'i', 256));
    Write("a.txt", "hi");
  }
  // A pair is refused when one of it is there.
  ASSERT_EQ(Run({"tokenize", "--input", a, "--output", directory_ / "p-val"}), 0);
  EXPECT_EQ(Run({"tokenize", "--input", a, a, a, "--validation-share", "0.3", "--output",
                 directory_ / "p"}),
            64);
  EXPECT_FALSE(disk_.Exists(directory_ / "p-train.bin"));
}

// At whatever operation of the disk it ends: both files or none, and nothing half-written.
TEST_F(DataTest, APairOfOutputsAppearsWholeOrNotAtAll) {
  for (const TokenFormat format : {TokenFormat::kMegatron, TokenFormat::kLlmc}) {
    for (int64_t k = 0;; ++k) {
      testing::FaultDisk disk;
      ASSERT_TRUE(disk.CreateDirectories("/data").ok());
      ASSERT_TRUE((*disk.Create("/a"))->Append("text").ok());
      TokenizeOptions options;
      options.inputs = {"/a", "/a", "/a", "/a"};
      options.output = "/data/t";
      options.format = format;
      options.validation_share = 0.3;
      disk.FailAt(disk.num_operations() + k);
      const absl::Status status = Tokenize(options, disk, {&out_, &err_, false, ""});
      const std::vector<std::string> names = *disk.List("/data");
      if (status.ok()) {
        EXPECT_EQ(names.size(), format == TokenFormat::kMegatron ? 4u : 2u);
        if (k > 40) break;
        continue;
      }
      EXPECT_THAT(names, ::testing::IsEmpty()) << "operation " << k << ": " << status;
    }
  }
}

TEST_F(DataTest, InspectShowsWideTokensAsTheyStand) {
  ASSERT_EQ(Run({"tokenize", "--input", Write("a", "abc"), "--output", directory_ / "t"}), 0);
  std::string index = *disk_.Read(directory_ / "t.idx");
  index[17] = static_cast<char>(TokenType::kInt64);
  Write("t.idx", index);
  Write("t.bin", std::string("\7\0\0\0\0\1\0\0\1\0\0\0\0\0\0\0"
                             "\xfe\xff\xff\xff\xff\xff\xff\xff\3\0\0\0\0\0\0\0",
                             32));
  ASSERT_EQ(Run({"inspect", directory_ / "t", "-o", "json"}), 0) << err_.str();
  EXPECT_EQ(nlohmann::json::parse(out_.str())["shown"],
            nlohmann::json({(int64_t{1} << 40) + 7, 1, -2, 3}));
  EXPECT_EQ(Run({"inspect", directory_ / "t", "--tokenizer", "bytes"}), 64);
  EXPECT_THAT(err_.str(), HasSubstr("token 1099511627783 is outside the vocabulary"));
}

TEST_F(DataTest, OutputThatCannotBeWrittenIsNoSuccess) {
  ASSERT_EQ(Run({"tokenize", "--input", Write("a", "abc"), "--output", directory_ / "t"}), 0);
  const std::string path = directory_ / "t";
  const std::vector<const char*> argv = {"birkhoff data", "inspect", path.c_str()};
  std::ofstream full("/dev/full");
  EXPECT_EQ(RunDataProgram(3, argv.data(), {&full, &err_, false, ""}), 71);
  EXPECT_THAT(err_.str(), HasSubstr("the standard output cannot be written"));
}

struct Wrong {
  std::vector<std::string> arguments;  // "@" stands for the test's directory
  std::string says;
};

TEST_F(DataTest, SaysWhatIsWrongWithExitCode64) {
  Write("good.txt", "text");
  Write("bad.jsonl", "{\"text\": \"fine\"}\nnot json\n");
  Write("field.jsonl", "{\"text\": 5}\n");
  Write("a.zst", std::string("\x28\xb5\x2f\xfd rest", 9));
  Write("a.xz", std::string("\xfd"
                            "7zXZ\0rest",
                            10));
  Write("not.gz", "just text");
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "empty").ok());
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "odd").ok());
  ASSERT_EQ(::mkfifo((directory_ / "odd/pipe").c_str(), 0600), 0);
  const std::vector<Wrong> all = {
      {{"tokenize", "--input", "@/a.zst", "--output", "@/t"}, "need text or gzip: zstd -dc"},
      {{"tokenize", "--input", "@/a.xz", "--jsonl", "--output", "@/t"}, "is compressed with xz"},
      {{"tokenize", "--input", "@/not.gz", "--output", "@/t"}, "is not gzip, as its name says"},
      {{"tokenize", "--input", "@/empty", "--output", "@/t"}, "empty: holds no files"},
      {{"tokenize", "--input", "@/odd", "--jsonl", "--output", "@/t"},
       "odd/pipe: is neither file nor folder"},
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
      {{"bogus"}, "bogus is no verb of birkhoff data"},
      {{"tokenise"}, "did you mean tokenize?"},
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
