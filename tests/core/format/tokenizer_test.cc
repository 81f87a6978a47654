// Tokenizers: text there and back.
#include "core/format/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string RoundTrip(const Tokenizer& tokenizer, const std::string& text) {
  auto tokens = tokenizer.Encode(text);
  EXPECT_TRUE(tokens.ok()) << tokens.status();
  tokens->push_back(tokenizer.end_of_document());
  const auto back = tokenizer.Decode(*tokens);
  EXPECT_TRUE(back.ok()) << back.status();
  return back.ok() ? *back : "";
}

TEST(BytesTokenizerTest, EveryByteIsATokenAndComesBack) {
  PosixDisk disk;
  const auto tokenizer = *LoadTokenizer(disk, "bytes");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->end_of_document(), 256);
  EXPECT_THAT(*tokenizer->Encode("a\xff"), ElementsAre('a', 255));
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(RoundTrip(*tokenizer, all), all);
}

TEST(BytesTokenizerTest, RefusesTokensOutsideTheVocabulary) {
  PosixDisk disk;
  const auto tokenizer = *LoadTokenizer(disk, "bytes");
  for (const int32_t token : {-1, 257}) {
    EXPECT_THAT(std::string(tokenizer->Decode(std::vector{token}).status().message()),
                HasSubstr(absl::StrCat("token ", token, " is outside the vocabulary")));
  }
}

class SentencePieceTest : public ::testing::Test {
 protected:
  static std::string Text() {
    std::string text;
    for (int i = 0; i < 400; ++i) {
      absl::StrAppend(&text, "The ", i % 7, " streams of layer ", i, " mix on the polytope.\n");
    }
    return text;
  }
  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
};

TEST_F(SentencePieceTest, TrainedModelGivesEveryTextBackAsItWas) {
  const std::string path = directory_ / "t.model";
  const absl::Status trained = TrainTokenizer({Text()}, 400, path);
  ASSERT_TRUE(trained.ok()) << trained;
  const auto tokenizer = LoadTokenizer(disk_, path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocab_size(), 400);
  for (const std::string text :
       {"The streams mix.", " leading and  double  spaces ", "line\nline\n\n\ttab",
        "\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", ""}) {
    EXPECT_EQ(RoundTrip(**tokenizer, text), text);
  }
  EXPECT_LT((*tokenizer)->Encode(Text())->size(), Text().size() / 3);  // it has learnt words
}

TEST_F(SentencePieceTest, TrainingIsDeterministic) {
  ASSERT_TRUE(TrainTokenizer({Text()}, 350, directory_ / "a.model").ok());
  ASSERT_TRUE(TrainTokenizer({Text()}, 350, directory_ / "b.model").ok());
  const auto a = *LoadTokenizer(disk_, directory_ / "a.model");
  const auto b = *LoadTokenizer(disk_, directory_ / "b.model");
  EXPECT_EQ(*a->Encode(Text()), *b->Encode(Text()));
}

TEST_F(SentencePieceTest, SaysWhatIsWrongWithAModel) {
  EXPECT_THAT(std::string(LoadTokenizer(disk_, directory_ / "none.model").status().message()),
              HasSubstr("none.model: open: No such file or directory; need bytes, or the path"));
  const auto file = *disk_.Create(directory_ / "bad.model");
  ASSERT_TRUE(file->Append("this is no model").ok() && file->Close().ok());
  const absl::Status status = LoadTokenizer(disk_, directory_ / "bad.model").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("need a SentencePiece .model"));
}

TEST_F(SentencePieceTest, SaysWhatIsWrongWithTraining) {
  EXPECT_THAT(std::string(TrainTokenizer({"text"}, 400, directory_ / "t").message()),
              HasSubstr("need a name that ends in .model"));
  EXPECT_THAT(std::string(TrainTokenizer({"\n\n"}, 400, directory_ / "t.model").message()),
              HasSubstr("no text"));
  // Too few different texts for so many pieces.
  EXPECT_THAT(std::string(TrainTokenizer({"ab ab"}, 5000, directory_ / "t.model").message()),
              HasSubstr("vocabulary of 5000"));
}

}  // namespace
}  // namespace birkhoff
