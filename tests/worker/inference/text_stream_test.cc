// Pieces of text as tokens come: no half characters, and together the whole text.
#include "worker/inference/text_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "core/base/disk.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Pieces(const Tokenizer& tokenizer, const std::vector<int32_t>& before,
                                const std::vector<int32_t>& tokens) {
  TextStream stream = TextStream::Create(tokenizer, before).value();
  std::vector<std::string> pieces;
  for (const int32_t token : tokens) pieces.push_back(stream.Push(token).value());
  pieces.push_back(stream.Finish().value());
  return pieces;
}

std::string Joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

class TextStreamTest : public ::testing::Test {
 protected:
  PosixDisk disk_;
  const std::unique_ptr<Tokenizer> bytes_ = LoadTokenizer(disk_, "bytes").value();
};

TEST_F(TextStreamTest, HoldsACharacterBackUntilItIsWhole) {
  EXPECT_THAT(Pieces(*bytes_, {'x'}, {'a', 0xe2, 0x82, 0xac, 'b'}),
              ElementsAre("a", "", "", "\xe2\x82\xac", "b", ""));
}

TEST_F(TextStreamTest, BytesThatAreNoCharactersComeAsTheyAre) {
  // A lone continuation, a lead byte that is followed by none, and one at the end.
  EXPECT_THAT(Pieces(*bytes_, {}, {0x80, 0xe2, 'b', 0xff, 0xc3}), ElementsAre("\x80", "",
                                                                              "\xe2"
                                                                              "b",
                                                                              "\xff", "", "\xc3"));
}

TEST_F(TextStreamTest, SaysTheWholeTextHoweverLongItIs) {
  std::vector<int32_t> tokens;
  std::string text;
  for (int i = 0; i < 300; ++i) absl::StrAppend(&text, i % 7 == 0 ? "\xc3\xa9" : "x", i);
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  EXPECT_EQ(Joined(Pieces(*bytes_, {'<'}, tokens)), text);
}

TEST_F(TextStreamTest, UnfinishedBytes) {
  EXPECT_EQ(UnfinishedBytes(""), 0u);
  EXPECT_EQ(UnfinishedBytes("a"), 0u);
  EXPECT_EQ(UnfinishedBytes("\xe2\x82"), 2u);
  EXPECT_EQ(UnfinishedBytes("a\xf0\x9f\x98"), 3u);
  EXPECT_EQ(UnfinishedBytes("\xe2\x82\xac"), 0u);
  EXPECT_EQ(UnfinishedBytes("\x82\x82\x82\x82"), 0u);
  EXPECT_EQ(UnfinishedBytes("a\xef\xbf\xbd\xef\xbf\xbd"), 6u);
}

// A model of pieces, with bytes for characters that it has not seen.
TEST_F(TextStreamTest, PiecesAndTheirBytesBecomeTheText) {
  const testing::TemporaryDirectory directory;
  std::string corpus;
  for (int i = 0; i < 400; ++i) absl::StrAppend(&corpus, "streams of words ", i % 31, "\n");
  const std::string path = directory / "m.model";
  ASSERT_TRUE(TrainTokenizer({corpus}, 330, path).ok());
  const std::unique_ptr<Tokenizer> pieces = LoadTokenizer(disk_, path).value();
  const std::string text = "words of \xe2\x82\xac streams, and \xf0\x9f\x98\x80 of 17  streams\n";
  const std::vector<int32_t> before = pieces->Encode("streams of").value();
  const std::vector<int32_t> tokens = pieces->Encode(text).value();
  const std::vector<std::string> made = Pieces(*pieces, before, tokens);
  EXPECT_EQ(Joined(made), text);
  for (const std::string& piece : made) EXPECT_EQ(piece.find("\xef\xbf\xbd"), std::string::npos);
  EXPECT_GT(tokens.size(), 15u);
}

}  // namespace
}  // namespace birkhoff
