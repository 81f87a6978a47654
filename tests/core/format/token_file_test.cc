// Token files: both formats there and back, and every way in which one can be wrong.
#include "core/format/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "tests/testing/fault_disk.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int32_t> Tokens(const TokenFile& file) {
  std::vector<int32_t> tokens(static_cast<size_t>(file.num_tokens()));
  EXPECT_TRUE(file.Read(0, tokens, 1 << 30).ok());
  return tokens;
}

class TokenFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, TokenFormat format, int vocab_size,
             const std::vector<std::vector<int32_t>>& documents) {
    auto writer = TokenWriter::Create(disk_, {directory_ / name, format, vocab_size});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& document : documents) ASSERT_TRUE((*writer)->AddDocument(document).ok());
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  void WriteBytes(const std::string& name, const std::string& bytes) {
    const auto file = disk_.Create(directory_ / name);
    ASSERT_TRUE(file.ok() && (*file)->Append(bytes).ok() && (*file)->Close().ok());
  }
  std::unique_ptr<TokenFile> Open(const std::string& name) {
    auto file = TokenFile::Open(directory_ / name);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }

  testing::TemporaryDirectory directory_;
  PosixDisk disk_;
};

struct Variant {
  TokenFormat format;
  int vocab_size;
  TokenType type;
};

class RoundTripTest : public TokenFileTest, public ::testing::WithParamInterface<Variant> {};

TEST_P(RoundTripTest, GivesBackTokensAndDocuments) {
  const auto [format, vocab_size, type] = GetParam();
  const int32_t last = vocab_size - 1;
  Write("t", format, vocab_size, {{1, 2, last}, {}, {3, 4, 5, 0}});
  const std::unique_ptr<TokenFile> file = Open("t");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->format(), format);
  EXPECT_EQ(file->type(), type);
  EXPECT_THAT(Tokens(*file), ElementsAre(1, 2, last, 3, 4, 5, 0));
  if (format == TokenFormat::kMegatron) {
    EXPECT_THAT(file->documents(), ElementsAre(0, 3, 3, 7));
  } else {
    EXPECT_THAT(file->documents(), IsEmpty());
  }
  EXPECT_TRUE(file->CheckVocabulary(vocab_size).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Variants, RoundTripTest,
    ::testing::Values(Variant{TokenFormat::kMegatron, 257, TokenType::kUint16},
                      Variant{TokenFormat::kMegatron, 1 << 16, TokenType::kUint16},
                      Variant{TokenFormat::kMegatron, 200000, TokenType::kInt32},
                      Variant{TokenFormat::kLlmc, 50257, TokenType::kUint16},
                      Variant{TokenFormat::kLlmc, 128256, TokenType::kUint32}));

TEST_F(TokenFileTest, WritesTheBytesOfMegatronsBuilder) {
  Write("t", TokenFormat::kMegatron, 257, {{1, 256}, {2}});
  EXPECT_EQ(*disk_.Read(directory_ / "t.bin"), std::string("\1\0\0\1\2\0", 6));
  std::string index("MMIDIDX\0\0", 9);
  // Version, uint16.
  index += std::string(
      "\1\0\0\0\0\0\0\0"
      "\10",
      9);
  // Sequences, documents.
  index += std::string(
      "\2\0\0\0\0\0\0\0"
      "\3\0\0\0\0\0\0\0",
      16);
  // Lengths.
  index += std::string(
      "\2\0\0\0"
      "\1\0\0\0",
      8);
  // Byte pointers.
  index += std::string(
      "\0\0\0\0\0\0\0\0"
      "\4\0\0\0\0\0\0\0",
      16);
  // The sequences that documents begin with, and one behind the last.
  index += std::string(
      "\0\0\0\0\0\0\0\0"
      "\1\0\0\0\0\0\0\0"
      "\2\0\0\0\0\0\0\0",
      24);
  EXPECT_EQ(*disk_.Read(directory_ / "t.idx"), index);
}

TEST_F(TokenFileTest, WritesTheBytesOfLlmc) {
  Write("t", TokenFormat::kLlmc, 50257, {{50256, 7}});
  const std::string bytes = *disk_.Read(directory_ / "t.bin");
  ASSERT_EQ(bytes.size(), 1024u + 4u);
  int32_t header[3];
  std::memcpy(header, bytes.data(), sizeof(header));
  EXPECT_THAT(header, ElementsAre(20240520, 1, 2));
  EXPECT_EQ(bytes.substr(1024), std::string("\x50\xc4\7\0", 4));
}

TEST_F(TokenFileTest, OpensUnderAnyOfItsNames) {
  Write("t", TokenFormat::kMegatron, 257, {{1}});
  for (const char* name : {"t", "t.bin", "t.idx"}) EXPECT_NE(Open(name), nullptr) << name;
}

TEST_F(TokenFileTest, ReadsEveryIntegerTypeOfMegatron) {
  Write("t", TokenFormat::kMegatron, 257, {{1, 2, 3}});
  const std::string index = *disk_.Read(directory_ / "t.idx");
  const auto try_type = [&](TokenType type, const std::string& tokens) {
    std::string changed = index;
    changed[17] = static_cast<char>(type);
    WriteBytes("t.idx", changed);
    WriteBytes("t.bin", tokens);
    const std::unique_ptr<TokenFile> file = Open("t");
    ASSERT_NE(file, nullptr);
    EXPECT_THAT(Tokens(*file), ElementsAre(1, 2, 3)) << TokenTypeName(type);
  };
  try_type(TokenType::kUint8, "\1\2\3");
  try_type(TokenType::kInt8, "\1\2\3");
  try_type(TokenType::kInt16, std::string("\1\0\2\0\3\0", 6));
  try_type(TokenType::kInt32, std::string("\1\0\0\0\2\0\0\0\3\0\0\0", 12));
  try_type(TokenType::kInt64, std::string("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 24));
}

TEST_F(TokenFileTest, NamesTheFirstTokenOutsideTheVocabulary) {
  Write("t", TokenFormat::kLlmc, 300, {{5, 299, 260}});
  EXPECT_EQ(Open("t")->CheckVocabulary(257).message(),
            absl::StrCat(directory_ / "t.bin",
                         ": byte 1026: token 1 is 299; need 0 to 256, because model.vocab_size is "
                         "257; the largest token of the file is 299"));
}

TEST_F(TokenFileTest, ChecksTheTokensThatItHandsOut) {
  Write("t", TokenFormat::kLlmc, 300, {{5, 299, 260}});
  const std::unique_ptr<TokenFile> file = Open("t");
  std::vector<int32_t> token(1);
  EXPECT_TRUE(file->Read(0, token, 257).ok());
  EXPECT_THAT(std::string(file->Read(1, token, 257).message()),
              HasSubstr("byte 1026: token 1 is 299; need 0 to 256"));
  EXPECT_TRUE(file->Read(1, token, 300).ok());
}

TEST_F(TokenFileTest, AFileThatIsCutWhileItIsOpenIsAnError) {
  Write("t", TokenFormat::kMegatron, 257, {std::vector<int32_t>(100'000, 7)});
  const std::unique_ptr<TokenFile> file = Open("t");
  WriteBytes("t.bin", "short");
  std::vector<int32_t> tokens(10);
  const absl::Status status = file->Read(90'000, tokens, 257);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("it had 200000 bytes when it was opened"));
  EXPECT_FALSE(file->CheckVocabulary(257).ok());
  EXPECT_FALSE(file->SampleChecksum().ok());
}

TEST_F(TokenFileTest, APipeIsNoTokenFileAndNobodyWaitsForIt) {
  ASSERT_EQ(::mkfifo((directory_ / "p.bin").c_str(), 0600), 0);
  EXPECT_THAT(std::string(TokenFile::Open(directory_ / "p").status().message()),
              HasSubstr("need a regular file"));
}

TEST_F(TokenFileTest, SampleChecksumSeesAnotherFile) {
  for (const int count : {1, 100, 4096, 131'072, 1'000'000}) {
    std::vector<int32_t> tokens(static_cast<size_t>(count), 7);
    Write("a", TokenFormat::kMegatron, 257, {tokens});
    const std::string a = *Open("a")->SampleChecksum();
    EXPECT_EQ(*Open("a")->SampleChecksum(), a);
    tokens.back() = 8;
    Write("b", TokenFormat::kMegatron, 257, {tokens});
    EXPECT_NE(*Open("b")->SampleChecksum(), a) << count << ": the last token";
    tokens.back() = 7;
    tokens.front() = 8;
    Write("b", TokenFormat::kMegatron, 257, {tokens});
    EXPECT_NE(*Open("b")->SampleChecksum(), a) << count << ": the first token";
    tokens.front() = 7;
    tokens.push_back(7);
    Write("b", TokenFormat::kMegatron, 257, {tokens});
    EXPECT_NE(*Open("b")->SampleChecksum(), a) << count << ": one more";
  }
}

TEST_F(TokenFileTest, WriterRefusesTokensOutsideTheVocabulary) {
  auto writer = *TokenWriter::Create(disk_, {directory_ / "t", TokenFormat::kMegatron, 257});
  for (const int32_t token : {257, -1}) {
    EXPECT_THAT(std::string(writer->AddDocument(std::vector{token}).message()),
                HasSubstr(absl::StrCat("token ", token, "; need 0 to 256")));
  }
}

// A failed write leaves what was there before, or nothing.
TEST(TokenWriterTest, LeavesNoHalfFileWhereTheDiskFails) {
  for (const TokenFormat format : {TokenFormat::kMegatron, TokenFormat::kLlmc}) {
    bool finished = false;
    for (int64_t operation = 0; !finished; ++operation) {
      testing::FaultDisk disk;
      disk.FailFrom(operation);
      const auto write = [&]() -> absl::Status {
        auto writer = TokenWriter::Create(disk, {"/data/t", format, 257});
        if (!writer.ok()) return writer.status();
        if (const absl::Status status = (*writer)->AddDocument(std::vector{1, 2}); !status.ok()) {
          return status;
        }
        return (*writer)->Finish();
      };
      finished = write().ok();
      // The last name that appears is what readers look for.
      const char* last = format == TokenFormat::kMegatron ? "/data/t.idx" : "/data/t.bin";
      disk.Crash(testing::Survives::kEverything);
      EXPECT_TRUE(!disk.Exists(last) || *disk.Size(last) > 0) << operation;
      EXPECT_EQ(finished, operation >= disk.num_operations()) << operation;
    }
  }
}

struct Damage {
  const char* name;
  const char* file;  // "t.bin" or "t.idx"
  std::function<void(std::string&)> change;
  const char* says;
};

void Put64(std::string& bytes, size_t at, int64_t value) { std::memcpy(&bytes[at], &value, 8); }
void Put32(std::string& bytes, size_t at, int32_t value) { std::memcpy(&bytes[at], &value, 4); }

class DamagedMegatronTest : public TokenFileTest, public ::testing::WithParamInterface<Damage> {};
class DamagedLlmcTest : public TokenFileTest, public ::testing::WithParamInterface<Damage> {};

// .idx of two documents of 3 and 1 tokens: header 34, lengths at 34, pointers at 42, documents
// at 58.
TEST_P(DamagedMegatronTest, GetsAMessageWithFileAndOffset) {
  Write("t", TokenFormat::kMegatron, 257, {{1, 2, 3}, {4}});
  std::string bytes = *disk_.Read(directory_ / GetParam().file);
  GetParam().change(bytes);
  WriteBytes(GetParam().file, bytes);
  const auto file = TokenFile::Open(directory_ / "t");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(file.status().message()),
              HasSubstr(absl::StrCat(directory_ / GetParam().file, ": ", GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(
    Damages, DamagedMegatronTest,
    ::testing::Values(
        Damage{"EmptyIndex", "t.idx", [](auto& b) { b.clear(); }, "byte 0: the file ends"},
        Damage{"ShortHeader", "t.idx", [](auto& b) { b.resize(33); }, "byte 33: the file ends"},
        Damage{"Magic", "t.idx", [](auto& b) { b[2] = 'x'; }, "byte 0: wrong magic"},
        Damage{"Version", "t.idx", [](auto& b) { Put64(b, 9, 2); }, "byte 9: version 2"},
        Damage{"FloatType", "t.idx", [](auto& b) { b[17] = 7; }, "byte 17: token type code 7"},
        Damage{"UnknownType", "t.idx", [](auto& b) { b[17] = 99; }, "byte 17: token type code 99"},
        Damage{"OurOwnType", "t.idx", [](auto& b) { b[17] = '\xff'; }, "byte 17: token type"},
        Damage{"MoreSequences", "t.idx", [](auto& b) { Put64(b, 18, 3); },
               "byte 18: 3 sequences and 3 document starts in a file of 82 bytes"},
        Damage{"HugeSequences", "t.idx", [](auto& b) { Put64(b, 18, int64_t{1} << 60); },
               "byte 18: 1152921504606846976 sequences"},
        Damage{"NegativeSequences", "t.idx", [](auto& b) { Put64(b, 18, -1); }, "byte 18: "},
        Damage{"MoreDocuments", "t.idx", [](auto& b) { Put64(b, 26, 4); }, "byte 18: 2 sequences"},
        Damage{"Truncated", "t.idx", [](auto& b) { b.resize(b.size() - 1); }, "byte 18: "},
        Damage{"Trailing", "t.idx", [](auto& b) { b += "xx"; }, "byte 18: "},
        Damage{"NegativeLength", "t.idx", [](auto& b) { Put32(b, 38, -1); },
               "byte 38: sequence 1 has length -1"},
        Damage{"Pointer", "t.idx", [](auto& b) { Put64(b, 50, 8); },
               "byte 50: sequence 1 points to byte 8 of the .bin; need byte 6"},
        Damage{"FarPointer", "t.idx", [](auto& b) { Put64(b, 42, int64_t{1} << 50); },
               "byte 42: sequence 0 points to byte 1125899906842624"},
        Damage{"LongerLast", "t.bin", [](auto& b) { b.resize(6); },
               "byte 6: the file ends; need 8 bytes"},
        Damage{"ExtraTokens", "t.bin", [](auto& b) { b += "xx"; }, "byte 10: the file ends"},
        Damage{"EmptyBin", "t.bin", [](auto& b) { b.clear(); }, "byte 0: the file ends"},
        Damage{"FirstDocument", "t.idx", [](auto& b) { Put64(b, 58, 1); },
               "byte 58: document 0 starts at sequence 1"},
        Damage{"DocumentOrder", "t.idx", [](auto& b) { Put64(b, 66, -5); },
               "byte 66: document 1 starts at sequence -5"},
        Damage{"DocumentBeyond", "t.idx", [](auto& b) { Put64(b, 74, 3); },
               "byte 74: document 2 starts at sequence 3"},
        Damage{"LastDocument", "t.idx", [](auto& b) { Put64(b, 74, 1); },
               "byte 74: the last document ends at sequence 1; need sequence 2"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_P(DamagedLlmcTest, GetsAMessageWithFileAndOffset) {
  Write("t", TokenFormat::kLlmc, 257, {{1, 2, 3}});
  std::string bytes = *disk_.Read(directory_ / GetParam().file);
  GetParam().change(bytes);
  WriteBytes(GetParam().file, bytes);
  const auto file = TokenFile::Open(directory_ / "t");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(file.status().message()),
              HasSubstr(absl::StrCat(directory_ / "t.bin", ": ", GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(
    Damages, DamagedLlmcTest,
    ::testing::Values(
        Damage{"Empty", "t.bin", [](auto& b) { b.clear(); }, "byte 0: the file ends"},
        Damage{"ShortHeader", "t.bin", [](auto& b) { b.resize(1023); }, "byte 1023: the file ends"},
        Damage{"Magic", "t.bin", [](auto& b) { Put32(b, 0, 20240326); }, "byte 0: magic 20240326"},
        Damage{"Version", "t.bin", [](auto& b) { Put32(b, 4, 7); },
               "byte 4: version 7; need version 1 with magic 20240520"},
        Damage{"WideVersion", "t.bin", [](auto& b) { Put32(b, 0, 20240801); },
               "byte 4: version 1; need version 7"},
        Damage{"CountTooLarge", "t.bin", [](auto& b) { Put32(b, 8, 4); },
               "byte 8: 4 tokens of 2 bytes, but 6 bytes follow"},
        Damage{"CountTooSmall", "t.bin", [](auto& b) { Put32(b, 8, 2); }, "byte 8: 2 tokens"},
        Damage{"NegativeCount", "t.bin", [](auto& b) { Put32(b, 8, -3); }, "byte 8: -3 tokens"},
        Damage{"HalfToken", "t.bin", [](auto& b) { b.pop_back(); }, "byte 8: 3 tokens"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(TokenFileTest, MissingFilesAreNotFound) {
  EXPECT_EQ(TokenFile::Open(directory_ / "none").status().code(), absl::StatusCode::kNotFound);
  Write("t", TokenFormat::kMegatron, 257, {{1}});
  ASSERT_TRUE(disk_.RemoveFile(directory_ / "t.bin").ok());
  EXPECT_THAT(std::string(TokenFile::Open(directory_ / "t").status().message()),
              HasSubstr("t.bin: No such file"));
}

TEST_F(TokenFileTest, ADirectoryIsNoTokenFile) {
  ASSERT_TRUE(disk_.CreateDirectories(directory_ / "t.bin").ok());
  EXPECT_THAT(std::string(TokenFile::Open(directory_ / "t").status().message()),
              HasSubstr("need a regular file"));
}

}  // namespace
}  // namespace birkhoff
