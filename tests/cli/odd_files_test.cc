// Odd token files, corpora and checkpoints that others have had trouble with: each is read as it is
// meant, or refused with the file, the place and what would do, and leaves nothing behind.
// docs/odd-inputs.md says where they come from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/data/data_program.h"
#include "core/base/disk.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint.h"
#include "core/format/checksum.h"
#include "core/format/shard.h"
#include "core/format/token_file.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

void Write(const std::string& path, const std::string& bytes) {
  PosixDisk disk;
  const auto file = disk.Create(path);
  ASSERT_TRUE(file.ok() && (*file)->Append(bytes).ok() && (*file)->Close().ok()) << path;
}

std::string Repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

template <typename... Numbers>
std::string Bytes(Numbers... numbers) {
  std::string bytes;
  (bytes.append(reinterpret_cast<const char*>(&numbers), sizeof(numbers)), ...);
  return bytes;
}

// --- token files ---

// A Megatron index, right or not.
struct Index {
  std::string magic = "MMIDIDX\0\0"s;
  uint64_t version = 1;
  uint8_t type = 8;  // uint16
  std::vector<int32_t> lengths = {3, 3};
  std::vector<int64_t> pointers = {0, 6};
  std::vector<int64_t> documents = {0, 1, 2};
  std::string tail;  // behind all that

  std::string ToBytes() const {
    std::string bytes = magic + Bytes(version, type, uint64_t{lengths.size()});
    bytes += Bytes(uint64_t{documents.size()});
    for (const int32_t length : lengths) bytes += Bytes(length);
    for (const int64_t pointer : pointers) bytes += Bytes(pointer);
    for (const int64_t document : documents) bytes += Bytes(document);
    return bytes + tail;
  }
};

std::string Six() {
  return Bytes(uint16_t{1}, uint16_t{2}, uint16_t{3}, uint16_t{4}, uint16_t{5}, uint16_t{256});
}

// A token file of llm.c: header of 256 numbers, then what follows.
std::string Llmc(int32_t magic, int32_t version, int32_t count, const std::string& tokens) {
  std::string bytes = Bytes(magic, version, count);
  bytes.resize(1024);
  return bytes + tokens;
}

struct OddTokens {
  const char* name;
  std::function<void(const std::string& stem)> make;
  int code;
  std::string says;  // STEM is the path; of a file that is accepted: its number of tokens
  int vocab_size = 257;
  friend void PrintTo(const OddTokens& odd, std::ostream* out) { *out << odd.name; }
};

// A pair of which the index is odd.
OddTokens OfIndex(const char* name, const std::function<void(Index&)>& change, int code,
                  const std::string& says) {
  const auto make = [change](const std::string& stem) {
    Index index;
    change(index);
    Write(stem + ".idx", index.ToBytes());
    Write(stem + ".bin", Six());
  };
  return {name, make, code, says};
}

// A pair whose tokens are odd.
OddTokens OfTokens(const char* name, uint8_t type, const std::string& bytes, int width, int code,
                   const std::string& says, int vocab_size = 257) {
  const auto make = [=](const std::string& stem) {
    const auto count = static_cast<int32_t>(bytes.size()) / width;
    Index index{.type = type, .lengths = {count}, .pointers = {0}, .documents = {0, 1}, .tail = ""};
    Write(stem + ".idx", index.ToBytes());
    Write(stem + ".bin", bytes);
  };
  return {name, make, code, says, vocab_size};
}

// A .bin without an index.
OddTokens OfBin(const char* name, const std::string& bytes, int code, const std::string& says,
                int vocab_size = 257) {
  const auto make = [bytes](const std::string& stem) { Write(stem + ".bin", bytes); };
  return {name, make, code, says, vocab_size};
}

// What is no token file at all, cut or filled to 2,000 bytes.
OddTokens OfKind(const char* name, std::string head, const std::string& says) {
  head.resize(2000, ' ');
  return OfBin(name, head, 64, says);
}

class OddTokensTest : public ::testing::TestWithParam<OddTokens> {};

TEST_P(OddTokensTest, AreReadAsMeantOrRefused) {
  const TemporaryDirectory directory;
  const std::string stem = directory / "t";
  GetParam().make(stem);
  const absl::StatusOr<std::unique_ptr<TokenFile>> file = TokenFile::Open(stem);
  absl::Status status = file.status();
  if (status.ok()) status = (*file)->CheckVocabulary(GetParam().vocab_size);
  EXPECT_EQ(static_cast<int>(ExitCodeOf(status)), GetParam().code) << status;
  if (status.ok()) {
    EXPECT_EQ(absl::StrCat((*file)->num_tokens()), GetParam().says);
  } else {
    std::string says = GetParam().says;
    if (const size_t at = says.find("STEM"); at != std::string::npos) says.replace(at, 4, stem);
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
  }
}

const std::vector<OddTokens>& OddTokenFiles() {
  static const auto* const kFiles = new std::vector<OddTokens>{
      // Megatron-LM, NeMo, GPT-NeoX, lm-engine: indices of other kinds, merged and cut ones.
      OfIndex(
          "SoundPair", [](Index&) {}, 0, "6"),
      OfIndex(
          "OldFairseqMagic", [](Index& i) { i.magic = "TNTIDX\0\0\0"s; }, 64,
          "STEM.idx: byte 0: wrong magic; need MMIDIDX of a Megatron index"),
      OfIndex(
          "MagicInLowerCase", [](Index& i) { i.magic = "mmididx\0\0"s; }, 64, "wrong magic"),
      OfIndex(
          "VersionTwo", [](Index& i) { i.version = 2; }, 64, "version 2; need version 1"),
      OfIndex(
          "VersionOfTheOtherByteOrder", [](Index& i) { i.version = uint64_t{1} << 56; }, 64,
          "version 72057594037927936; need version 1"),
      OfIndex(
          "TypeZero", [](Index& i) { i.type = 0; }, 64, "token type code 0"),
      OfIndex(
          "TypeFloat32", [](Index& i) { i.type = 6; }, 64, "token type code 6"),
      OfIndex(
          "TypeFloat64", [](Index& i) { i.type = 7; }, 64,
          "need an integer type: 1, 2, 3, 4, 5 or 8"),
      OfIndex(
          "TypeUint32OfAFork", [](Index& i) { i.type = 9; }, 64, "token type code 9"),
      OfIndex(
          "TypeUnknown", [](Index& i) { i.type = 255; }, 64, "token type code 255"),
      OfIndex(
          "SequenceModes", [](Index& i) { i.tail = "\1\1"; }, 64,
          "a file with sequence modes is multimodal"),
      OfIndex(
          "CutBeforeTheDocuments",
          [](Index& i) {
            i.documents.pop_back();
            i.tail = "1234567";
          },
          64, "need 34 + 12 x sequences + 8 x document starts bytes"),
      OfIndex(
          "MergedWithoutShiftedDocuments",
          [](Index& i) {
            i.documents = {0, 1, 1};
          },
          64, "the last document ends at sequence 1; need sequence 2"),
      OfIndex(
          "NoDocuments", [](Index& i) { i.documents.clear(); }, 64, "the last document ends"),
      OfIndex(
          "DocumentsBeginLate",
          [](Index& i) {
            i.documents = {1, 2};
          },
          64, "document 0 starts at sequence 1"),
      OfIndex(
          "DocumentsDescend",
          [](Index& i) {
            i.documents = {0, 2, 1, 2};
          },
          64, "document 2 starts at sequence 1; need ascending sequences"),
      OfIndex(
          "DocumentBeyondTheEnd",
          [](Index& i) {
            i.documents = {0, 3};
          },
          64, "need ascending sequences from 0 to 2"),
      OfIndex(
          "DocumentNegative",
          [](Index& i) {
            i.documents = {0, -1, 2};
          },
          64, "document 1 starts at sequence -1"),
      OfIndex(
          "EmptyDocument",
          [](Index& i) {
            i.documents = {0, 1, 1, 2};
          },
          0, "6"),
      OfIndex(
          "EmptySequence",
          [](Index& i) {
            i.lengths = {6, 0}, i.pointers = {0, 12};
          },
          0, "6"),
      OfIndex(
          "LengthNegative", [](Index& i) { i.lengths[0] = -3; }, 64,
          "sequence 0 has length -3; need a length >= 0"),
      OfIndex(
          "LengthsBeyondTheBin", [](Index& i) { i.lengths[1] = 2147483647; }, 64,
          "need 4294967300 bytes, as "),
      OfIndex(
          "PointersOverlap", [](Index& i) { i.pointers[1] = 4; }, 64,
          "sequence 1 points to byte 4 of the .bin; need byte 6"),
      OfIndex(
          "PointersLeaveAGap", [](Index& i) { i.pointers[1] = 8; }, 64, "need byte 6"),
      OfIndex(
          "PointerNegative", [](Index& i) { i.pointers[0] = -6; }, 64, "need byte 0"),
      OfIndex(
          "PointerThatWrapped", [](Index& i) { i.pointers[1] = 6 - (int64_t{1} << 32); }, 64,
          "points to byte -4294967290 of the .bin; need byte 6"),
      OfIndex(
          "PointersInTokens", [](Index& i) { i.pointers[1] = 3; }, 64, "need byte 6"),
      OddTokens{"ManySequencesInTheHeaderAlone",
                [](const std::string& stem) {
                  Write(stem + ".bin", Six());
                  Write(stem + ".idx",
                        "MMIDIDX\0\0"s + Bytes(uint64_t{1}, uint8_t{8}, ~uint64_t{0}, uint64_t{3}));
                },
                64, "18446744073709551615 sequences and 3 document starts in a file of 34 bytes"},
      OddTokens{"CountsThatWrapAround",
                [](const std::string& stem) {
                  Write(stem + ".bin", Six());
                  Write(stem + ".idx", "MMIDIDX\0\0"s + Bytes(uint64_t{1}, uint8_t{8}, uint64_t{0},
                                                              uint64_t{1} << 61));
                },
                64, "2305843009213693952 document starts"},
      OddTokens{"NothingInIt",
                [](const std::string& stem) {
                  Write(stem + ".bin", "");
                  Index index{.lengths = {}, .pointers = {}, .documents = {0}, .tail = ""};
                  Write(stem + ".idx", index.ToBytes());
                },
                0, "0"},
      OddTokens{"BinIsLonger",
                [](const std::string& stem) {
                  Write(stem + ".bin", Six() + "12");
                  Write(stem + ".idx", Index().ToBytes());
                },
                64, "need 12 bytes, as "},
      OddTokens{"IndexIsAFolder",
                [](const std::string& stem) {
                  Write(stem + ".bin", Six());
                  ::mkdir((stem + ".idx").c_str(), 0755);
                },
                64, "STEM.idx: is a directory; need a file"},
      OddTokens{"BinIsAFolder",
                [](const std::string& stem) { ::mkdir((stem + ".bin").c_str(), 0755); }, 64,
                "STEM.bin: need a regular file"},
      OddTokens{"BinIsAPipe",
                [](const std::string& stem) { ::mkfifo((stem + ".bin").c_str(), 0644); }, 64,
                "STEM.bin: need a regular file"},
      OddTokens{"BinIsADevice",
                [](const std::string& stem) {
                  ASSERT_EQ(::symlink("/dev/zero", (stem + ".bin").c_str()), 0);
                },
                64, "STEM.bin: need a regular file"},
      OddTokens{"BinIsALinkToItself",
                [](const std::string& stem) {
                  ASSERT_EQ(::symlink((stem + ".bin").c_str(), (stem + ".bin").c_str()), 0);
                },
                64, "STEM.bin: Too many levels of symbolic links"},
      OddTokens{"BinIsALinkToNothing",
                [](const std::string& stem) {
                  ASSERT_EQ(::symlink("/nowhere/x", (stem + ".bin").c_str()), 0);
                },
                64, "STEM.bin: No such file or directory"},
      OddTokens{"NothingThere", [](const std::string&) {}, 64, "STEM.bin: No such file"},

      // Tokens: of a tokenizer that is larger, of a type that is smaller.
      OfTokens("NegativeInt16", 3, Bytes(int16_t{-1}, int16_t{2}), 2, 64, "token 0 is -1"),
      OfTokens("NegativeInt8", 2, Bytes(int8_t{-128}), 1, 64, "token 0 is -128; need 0 to 256"),
      OfTokens("NegativeInt64", 5, Bytes(std::numeric_limits<int64_t>::min()), 8, 64,
               "token 0 is -9223372036854775808"),
      OfTokens("Uint8", 1, "\x00\xff"s, 1, 0, "2"),
      OfTokens("LargestUint16", 8, Bytes(uint16_t{65535}), 2, 64,
               "token 0 is 65535; need 0 to 50256, because model.vocab_size is 50257", 50257),
      OfTokens("WiderThanAnInt", 5, Bytes(int64_t{1} << 40), 8, 64, "token 0 is 1099511627776"),
      OfTokens("JustInside", 4, Bytes(int32_t{50256}), 4, 0, "1", 50257),
      OfTokens("JustOutside", 4, Bytes(int32_t{50257}), 4, 64,
               "the largest token of the file is 50257", 50257),

      // llm.c: token files of other versions, other files of the same project, counts.
      OfBin("LlmcSound", Llmc(20240520, 1, 6, Six()), 0, "6"),
      OfBin("LlmcOfLlama", Llmc(20240801, 7, 1, Bytes(uint32_t{5})), 0, "1"),
      OfBin("LlmcWithoutHeader", Repeat(Six(), 200), 64, "magic 131073; need llm.c's 20240520"),
      OfBin("LlmcVersionZero", Llmc(20240520, 0, 6, Six()), 64,
            "version 0; need version 1 with magic 20240520"),
      OfBin("LlmcVersionOfTheOther", Llmc(20240520, 7, 6, Six()), 64, "version 7; need version 1"),
      OfBin("LlmcLlamaVersionOne", Llmc(20240801, 1, 3, Six()), 64, "need version 7 with magic"),
      OfBin("LlmcOtherByteOrder", Llmc(0x08D93401, 1 << 24, 6, Six()), 64,
            "STEM.bin: byte 0: magic"),
      OfBin("LlmcCountIsMore", Llmc(20240520, 1, 7, Six()), 64,
            "7 tokens of 2 bytes, but 12 bytes follow the header; need as many as the header says"),
      OfBin("LlmcCountIsLess", Llmc(20240520, 1, 5, Six()), 64, "5 tokens of 2 bytes, but 12"),
      OfBin("LlmcCountNegative", Llmc(20240520, 1, -6, Six()), 64, "-6 tokens of 2 bytes"),
      OfBin("LlmcCountThatWrapped", Llmc(20240520, 1, std::numeric_limits<int32_t>::min(), Six()),
            64, "-2147483648 tokens"),
      OfBin("LlmcHalfAToken", Llmc(20240520, 1, 6, Six() + "x"), 64, "but 13 bytes follow"),
      OfBin("LlmcHeaderAlone", Llmc(20240520, 1, 0, ""), 0, "0"),
      OfBin("LlmcCutHeader", Llmc(20240520, 1, 0, "").substr(0, 1023), 64,
            "STEM.bin: byte 1023: the file ends; need 1024 bytes of llm.c header"),
      OfBin("LlmcEmpty", "", 64, "or a Megatron .idx beside the .bin"),
      OfBin("LlmcModel", Llmc(20240326, 3, 1024, Six()), 64, "magic 20240326; need llm.c's"),
      OfBin("LlmcTokenizer", Llmc(20240328, 2, 50257, Six()), 64, "magic 20240328; need llm.c's"),
      OfBin("LlmcEvaluation", Llmc(20240522, 1, 10042, Six()), 64, "magic 20240522; need llm.c's"),

      // Files of another kind under the name: what hubs, browsers and version control leave.
      OfKind("GitLfsPointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
             "need llm.c's 20240520 or 20240801, or a Megatron .idx beside the .bin"),
      OfKind("ErrorPage", "<!DOCTYPE html><html><title>404</title>", "STEM.bin: byte 0: magic"),
      OfKind("Gzip", "\x1f\x8b\x08\0\0\0\0\0"s, "STEM.bin: byte 0: magic"),
      OfKind("Numpy", "\x93NUMPY\1\0"s, "STEM.bin: byte 0: magic"),
      OfKind("PyTorchZip", "PK\3\4\0\0"s, "STEM.bin: byte 0: magic"),
      OfKind("Gguf", "GGUF\3\0\0\0"s, "STEM.bin: byte 0: magic"),
      OfKind("Safetensors", "\x40\0\0\0\0\0\0\0{}"s, "STEM.bin: byte 0: magic 64"),
      OfKind("Parquet", "PAR1\x15\4\x15"s, "STEM.bin: byte 0: magic"),
      OfKind("Arrow", "ARROW1\0\0"s, "STEM.bin: byte 0: magic"),
      OfKind("PlainText", "Once upon a time there was a corpus.", "STEM.bin: byte 0: magic"),
      OfKind("AllZero", std::string(2000, '\0'), "STEM.bin: byte 0: magic 0"),
  };
  return *kFiles;
}

INSTANTIATE_TEST_SUITE_P(Files, OddTokensTest, ::testing::ValuesIn(OddTokenFiles()),
                         [](const auto& test) { return std::string(test.param.name); });

// --- corpora ---

struct OddCorpus {
  const char* name;
  std::string file;  // its name; of a folder: what is in it is made by `make`
  std::string bytes;
  std::vector<std::string> flags;
  int code;
  std::string says;
  std::function<void(const std::string& directory)> make = [](const std::string&) {};
  friend void PrintTo(const OddCorpus& odd, std::ostream* out) { *out << odd.name; }
};

OddCorpus Json(const char* name, const std::string& lines, int code, const std::string& says) {
  return {name, "c.jsonl", lines, {"--jsonl"}, code, says};
}

OddCorpus Text(const char* name, const std::string& file, const std::string& bytes, int code,
               const std::string& says, std::vector<std::string> flags = {}) {
  return {name, file, bytes, std::move(flags), code, says};
}

std::string Gzip(const std::string& text) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(text.size() + 100, '\0'), copy = text;
  stream.next_in = reinterpret_cast<Bytef*>(copy.data());
  stream.avail_in = static_cast<uInt>(copy.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

class OddCorpusTest : public ::testing::TestWithParam<OddCorpus> {};

TEST_P(OddCorpusTest, IsTokenizedAsMeantOrRefusedWithNothingLeft) {
  const OddCorpus& odd = GetParam();
  const TemporaryDirectory directory;
  if (!odd.file.empty()) Write(directory / odd.file, odd.bytes);
  odd.make(directory.path());
  const std::string input = odd.file.empty() ? directory / "in" : directory / odd.file;
  std::vector<std::string> words = {"birkhoff data", "tokenize", "--input",
                                    input,           "--output", directory / "out/t"};
  words.insert(words.end(), odd.flags.begin(), odd.flags.end());
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  std::ostringstream out, err;
  const int code =
      RunDataProgram(static_cast<int>(argv.size()), argv.data(), {&out, &err, false, ""});
  EXPECT_EQ(code, odd.code) << err.str();
  EXPECT_THAT(err.str(), HasSubstr(odd.says));
  PosixDisk disk;
  for (const char* name : {"out/t.idx", "out/t-train.idx", "out/t-val.idx"}) {
    const bool made = disk.Exists(directory / name);
    EXPECT_EQ(made, code == 0 && name == std::string("out/t.idx")) << name;
  }
  for (const std::string& name :
       disk.List(directory / "out").value_or(std::vector<std::string>{})) {
    EXPECT_THAT(name, ::testing::Not(::testing::EndsWith(".part")));
  }
}

const std::vector<OddCorpus>& OddCorpora() {
  static const auto* const kCorpora = new std::vector<OddCorpus>{
      // JSON lines: what Megatron's preprocess_data.py, datasets and lingua have stumbled over.
      Json("FieldMissing", "{\"body\": \"a\"}\n", 64, "c.jsonl:1: no text in field \"text\""),
      Json("FieldNull", "{\"text\": null}\n", 64, "need a string there (--field)"),
      Json("FieldNumber", "{\"text\": 5}\n", 64, "c.jsonl:1: no text in field"),
      Json("FieldList", "{\"text\": [\"a\"]}\n", 64, "c.jsonl:1: no text in field"),
      Json("FieldObject", "{\"text\": {\"text\": \"a\"}}\n", 64, "c.jsonl:1: no text in field"),
      Json("FieldTrue", "{\"text\": true}\n", 64, "c.jsonl:1: no text in field"),
      Json("FieldOfAnotherCase", "{\"Text\": \"a\"}\n", 64, "no text in field \"text\""),
      Json("SecondLineIsOdd", "{\"text\": \"a\"}\n{\"text\": }\n", 64,
           "c.jsonl:2: not a JSON object: column 10: syntax error while parsing value - unexpected "
           "'}'"),
      Json("LineOfAList", "[\"text\"]\n", 64, "c.jsonl:1: not a JSON object; need one per line"),
      Json("LineOfAString", "\"text\"\n", 64, "not a JSON object; need one per line"),
      Json("LineOfNull", "null\n", 64, "not a JSON object"),
      Json("WholeFileIsAList", "[\n{\"text\": \"a\"},\n{\"text\": \"b\"}\n]\n", 64,
           "c.jsonl:1: not a JSON object: column 2: syntax error while parsing value"),
      Json("PrettyPrinted", "{\n  \"text\": \"a\"\n}\n", 64, "c.jsonl:1: not a JSON object"),
      Json("TwoObjectsOnALine", "{\"text\": \"a\"}{\"text\": \"b\"}\n", 64, "need one per line"),
      Json("TrailingComma", "{\"text\": \"a\",}\n", 64, "not a JSON object"),
      Json("SingleQuotes", "{'text': 'a'}\n", 64, "not a JSON object"),
      Json("PythonRepr", "{\"text\": None}\n", 64, "not a JSON object"),
      Json("NotANumber", "{\"text\": \"a\", \"score\": NaN}\n", 64, "not a JSON object"),
      Json("NumberTooLarge", "{\"text\": \"a\", \"score\": 1e999}\n", 64, "not a JSON object"),
      Json("RawControlCharacter", "{\"text\": \"a\tb\"}\n", 64, "not a JSON object"),
      Json("RawNewline", "{\"text\": \"a\nb\"}\n", 64, "c.jsonl:1: not a JSON object"),
      Json("Latin1", "{\"text\": \"caf\xe9\"}\n", 64, "c.jsonl:1: not a JSON object"),
      Json("LoneSurrogate", "{\"text\": \"\\ud83d\"}\n", 64, "c.jsonl:1: not a JSON object"),
      Json("SurrogatesTheWrongWayRound", "{\"text\": \"\\ude00\\ud83d\"}\n", 64, "not a JSON"),
      Json("BadEscape", "{\"text\": \"\\x41\"}\n", 64, "not a JSON object"),
      Json("CutInTheMiddle", "{\"text\": \"a\"}\n{\"text\": \"b", 64, "c.jsonl:2: not a JSON"),
      Json("Utf16", "{\0\"\0t\0"s, 64, "c.jsonl:1: not a JSON object"),
      Json("OnlyBlankLines", "\n \n\t\n", 64, "0 documents leave none for training"),
      Json("Empty", "", 64, "0 documents leave none for training"),
      Json("GitLfsPointer", "version https://git-lfs.github.com/spec/v1\n", 64,
           "need one per line"),
      Json("ByteOrderMark", "\xef\xbb\xbf{\"text\": \"a\"}\n", 0, "1 documents: 2 training tokens"),
      Json("CarriageReturns", "{\"text\": \"a\"}\r\n\r\n{\"text\": \"b\"}\r\n", 0,
           "2 documents: 4"),
      Json("NoNewlineAtTheEnd", "{\"text\": \"a\"}", 0, "1 documents: 2 training tokens"),
      Json("EmptyFirstDocument", "{\"text\": \"\"}\n{\"text\": \"b\"}\n", 0, "2 documents: 3"),
      Json("NulInTheText", "{\"text\": \"a\\u0000b\"}\n", 0, "1 documents: 4 training tokens"),
      Json("PairOfSurrogates", "{\"text\": \"\\ud83d\\ude00\"}\n", 0, "1 documents: 5"),
      Json("FieldTwice", "{\"text\": \"a\", \"text\": \"bcd\"}\n", 0, "1 documents: 4"),
      Json("DeepElsewhere",
           "{\"text\": \"a\", \"x\": " + Repeat("[", 100000) + Repeat("]", 100000) + "}\n", 0,
           "1 documents: 2 training tokens"),
      Json("LongLine", "{\"text\": \"" + Repeat("word ", 500000) + "\"}\n", 0, "2500001 training"),
      {"OtherField",
       "c.jsonl",
       "{\"a.b\": \"x\"}\n",
       {"--jsonl", "--field", "a.b"},
       0,
       "2 training"},
      {"FieldWithoutJsonl", "c.txt", "x", {"--field", "body"}, 64, "--field requires --jsonl"},
      Json("JsonlPacked", Gzip("{\"text\": \"a\"}\n"), 0, "1 documents: 2 training tokens"),

      // Files: packed, cut, misnamed.
      Text("EmptyText", "c.txt", "", 0, "1 documents: 1 training tokens"),
      Text("InvalidUtf8", "c.txt", "caf\xe9", 0, "1 documents: 5 training tokens"),
      Text("GzipOfSeveralMembers", "c.gz", Gzip("ab") + Gzip("cd"), 0, "5 training tokens"),
      Text("GzipMisnamed", "c.txt", Gzip("ab"), 0, "3 training tokens"),
      Text("GzipEmpty", "c.gz", Gzip(""), 0, "1 training tokens"),
      Text("GzipCut", "c.gz", Gzip(Repeat("abc", 100)).substr(0, 20), 64,
           "c.gz: the gzip data ends in the middle"),
      Text("GzipHeaderAlone", "c.gz", "\x1f\x8b\x08\0\0\0\0\0\0\3"s, 64, "ends in the middle"),
      Text("GzipGarbageBehind", "c.gz", Gzip("ab") + "garbage", 64, "c.gz: the gzip data "),
      Text(
          "GzipChecksum", "c.gz",
          [] {
            std::string bytes = Gzip("ab");
            bytes[bytes.size() - 6] = static_cast<char>(bytes[bytes.size() - 6] ^ 1);
            return bytes;
          }(),
          64, "c.gz: the gzip data incorrect data check"),
      Text("NameSaysGzip", "c.gz", "plain text", 64, "c.gz: is not gzip, as its name says"),
      Text("Zstandard", "c.zst", "\x28\xb5\x2f\xfd\x04\0"s, 64, "compressed with zstd"),
      Text("Xz", "c.xz", "\xfd"s + "7zXZ\0\0"s, 64, "xz -dc"),
      Text("Bzip2", "c.bz2", "BZh91AY", 64, "compressed with bzip2"),
      Text("Zip", "c.zip", "PK\3\4abcd", 64, "compressed with zip"),

      // Folders.
      {"FolderEmpty",
       "",
       "",
       {},
       64,
       "in: holds no files; need text",
       [](const std::string& at) { ::mkdir((at + "/in").c_str(), 0755); }},
      {"FolderWithAPipe",
       "",
       "",
       {},
       64,
       "is neither file nor folder; take it out of ",
       [](const std::string& at) {
         ::mkdir((at + "/in").c_str(), 0755);
         ::mkfifo((at + "/in/p").c_str(), 0644);
       }},
      {"FolderWithALinkToNothing",
       "",
       "",
       {},
       64,
       "is neither file nor folder",
       [](const std::string& at) {
         ::mkdir((at + "/in").c_str(), 0755);
         ASSERT_EQ(::symlink("/nowhere/x", (at + "/in/l").c_str()), 0);
       }},
      {"FolderWithALinkToItself",
       "",
       "",
       {},
       64,
       "is neither file nor folder",
       [](const std::string& at) {
         ::mkdir((at + "/in").c_str(), 0755);
         Write(at + "/in/a", "a");
         ASSERT_EQ(::symlink((at + "/in").c_str(), (at + "/in/l").c_str()), 0);
       }},
      {"FolderOfOddNames",
       "",
       "",
       {},
       0,
       "3 documents: 6 training tokens",
       [](const std::string& at) {
         ::mkdir((at + "/in").c_str(), 0755);
         Write(at + "/in/ a b ", "x");
         Write(at + "/in/-rf", "y");
         Write(at + "/in/\xff\n", "z");
       }},
      {"NothingThere", "", "", {}, 64, "in: open: No such file or directory"},

      // Outputs.
      {"OutputIsAnInput",
       "",
       "",
       {"--force"},
       64,
       "is an input and an output",
       [](const std::string& at) {
         ASSERT_EQ(::mkdir((at + "/in").c_str(), 0755), 0);
         Write(at + "/in/t.bin", "text");
         ASSERT_EQ(::symlink((at + "/in").c_str(), (at + "/out").c_str()), 0);
       }},
      {"ShareIsNotANumber",
       "c.txt",
       "x",
       {"--validation-share", "nan"},
       64,
       "--validation-share: nan is not allowed; need 0 to 0.5"},
      {"ShareIsNegative", "c.txt", "x", {"--validation-share", "-0.1"}, 64, "need 0 to 0.5"},
      {"ShareIsTooLarge", "c.txt", "x", {"--validation-share", "0.51"}, 64, "need 0 to 0.5"},
      {"ShareOfOneDocument",
       "c.txt",
       "x",
       {"--validation-share", "0.1"},
       64,
       "1 documents leave none for validation; need more documents, or data.validation_split"},
      {"TokenizerIsAWord",
       "c.txt",
       "x",
       {"--tokenizer", "gpt2"},
       64,
       "need bytes, or the path of a SentencePiece .model"},
      {"TokenizerIsAFolder", "c.txt", "x", {"--tokenizer", "/"}, 64, "/: is a directory"},
      {"TokenizerIsADevice", "c.txt", "x", {"--tokenizer", "/dev/zero"}, 64, "is a device"},
      {"TokenizerIsEmpty", "c.txt", "x", {"--tokenizer", "/dev/null"}, 64, "is a device"},
      {"FormatUnknown", "c.txt", "x", {"--format", "gguf"}, 64, "gguf not in {megatron,llmc}"},
  };
  return *kCorpora;
}

INSTANTIATE_TEST_SUITE_P(Corpora, OddCorpusTest, ::testing::ValuesIn(OddCorpora()),
                         [](const auto& test) { return std::string(test.param.name); });

// --- checkpoints ---

using Object = nlohmann::ordered_json;

std::string WriteSound(Disk& disk, const std::string& root) {
  Manifest manifest;
  manifest.job = "jobs/t";
  manifest.attempt = 1;
  manifest.step = 7;
  const std::string partial = absl::StrCat(root, "/", PartialCheckpointName(7, manifest.job, 1));
  EXPECT_TRUE(disk.CreateDirectories(partial).ok());
  const std::vector<float> values = {1, 2, 3, 4};
  const std::vector<TensorView> tensors = {{"a", {2, 2}, values.data()}, {"b", {4}, values.data()}};
  const auto written = WriteShard(disk, partial + "/" + ShardFileName(0), tensors);
  EXPECT_TRUE(written.ok() && AddShard(disk, partial, ShardFileName(0), *written, manifest).ok() &&
              CommitCheckpointDirectory(disk, root, manifest).ok());
  return absl::StrCat(root, "/", CheckpointName(7));
}

absl::Status ReadBack(Disk& disk, const std::string& directory) {
  ASSIGN_OR_RETURN(const auto reader, CheckpointReader::Open(disk, directory));
  std::vector<float> values(4);
  RETURN_IF_ERROR(reader->Read("a", {2, 2}, values.data()));
  return reader->Read("b", {4}, values.data());
}

struct OddCheckpoint {
  const char* name;
  std::function<void(const std::string& directory)> change;
  std::string says;  // empty: it is read
  friend void PrintTo(const OddCheckpoint& odd, std::ostream* out) { *out << odd.name; }
};

// A manifest that somebody has changed and signed again.
OddCheckpoint Signed(const char* name, const std::function<void(Object&)>& change,
                     const std::string& says) {
  const auto edit = [change](const std::string& directory) {
    PosixDisk disk;
    Object json = Object::parse(disk.Read(directory + "/manifest.json").value());
    json.erase("checksum");
    change(json);
    json["checksum"] = ChecksumOf(json.dump());
    Write(directory + "/manifest.json", json.dump());
  };
  return {name, edit, says};
}

OddCheckpoint Whole(const char* name, const std::string& manifest, const std::string& says) {
  const auto replace = [manifest](const std::string& directory) {
    Write(directory + "/manifest.json", manifest);
  };
  return {name, replace, says};
}

// A shard with another header, and the same bytes behind it.
OddCheckpoint Header(const char* name, const std::string& header, const std::string& says,
                     int64_t length = -1) {
  const auto replace = [=](const std::string& directory) {
    PosixDisk disk;
    const std::string path = directory + "/rank-00000.safetensors";
    const std::string before = disk.Read(path).value();
    std::string text = header;
    text.resize(before.size() - 8 - 32, ' ');  // the manifest knows the size of the file
    const int64_t said = length < 0 ? static_cast<int64_t>(text.size()) : length;
    Write(path, Bytes(said) + text + before.substr(before.size() - 32));
  };
  return {name, replace, says};
}

std::string Tensor(const std::string& offsets) {
  return R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":)" + offsets + "}}";
}

class OddCheckpointTest : public ::testing::TestWithParam<OddCheckpoint> {};

TEST_P(OddCheckpointTest, IsReadOrNamedAsDamaged) {
  const TemporaryDirectory directory;
  PosixDisk disk;
  const std::string at = WriteSound(disk, directory.path());
  ASSERT_TRUE(ReadBack(disk, at).ok());
  GetParam().change(at);
  const absl::Status status = ReadBack(disk, at);
  if (GetParam().says.empty()) {
    EXPECT_TRUE(status.ok()) << status;
  } else {
    EXPECT_EQ(static_cast<int>(ExitCodeOf(status)), 64) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().says));
  }
}

const std::vector<OddCheckpoint>& OddCheckpoints() {
  static const auto* const kCheckpoints = new std::vector<OddCheckpoint>{
      // Manifests: what fuzzers of llama.cpp and readers of other indices have found.
      Whole("Blank", " ", "manifest.json: "),
      Whole("Null", "null", "manifest.json: "),
      Whole("List", "[]", "manifest.json: "),
      Whole("Number", "1e999", "manifest.json: "),
      Whole("EmptyObject", "{}", "key 'format_version' not found"),
      Whole("VersionText", "{\"format_version\": \"1\"}", "type must be number"),
      Whole("VersionOfTomorrow", "{\"format_version\": 99}", "format_version is 99; this program"),
      Whole("NoChecksum", "{\"format_version\": 1}", "key 'checksum' not found"),
      Whole("ChecksumNumber", "{\"format_version\": 1, \"checksum\": 5}", "type must be string"),
      Whole("Deep", Repeat("[", 200000), "manifest.json: "),
      Whole("BytesThatAreNoText", "\xff\xfe{}", "manifest.json: "),
      Whole("Page", "<html>404</html>", "manifest.json: "),
      OddCheckpoint{"NoManifest",
                    [](const std::string& at) { ::unlink((at + "/manifest.json").c_str()); },
                    "manifest.json: missing"},
      OddCheckpoint{"ManifestIsAFolder",
                    [](const std::string& at) {
                      ::unlink((at + "/manifest.json").c_str());
                      ::mkdir((at + "/manifest.json").c_str(), 0755);
                    },
                    "manifest.json: is a directory; need a file"},
      OddCheckpoint{"ShardIsAFolder",
                    [](const std::string& at) {
                      ::unlink((at + "/rank-00000.safetensors").c_str());
                      ::mkdir((at + "/rank-00000.safetensors").c_str(), 0755);
                    },
                    "rank-00000.safetensors: is a directory; need a file"},
      OddCheckpoint{"ShardIsADevice",
                    [](const std::string& at) {
                      ::unlink((at + "/rank-00000.safetensors").c_str());
                      ASSERT_EQ(::symlink("/dev/zero", (at + "/rank-00000.safetensors").c_str()),
                                0);
                    },
                    "rank-00000.safetensors: is a device; need a file"},
      OddCheckpoint{"ForeignFileBeside",
                    [](const std::string& at) { Write(at + "/notes.txt", "mine"); }, ""},
      Signed(
          "SignedAgain", [](Object&) {}, ""),
      Signed(
          "UnknownKey", [](Object& json) { json["later"] = 5; }, ""),
      Signed(
          "NoStep", [](Object& json) { json.erase("step"); }, "key 'step' not found"),
      Signed(
          "StepText", [](Object& json) { json["step"] = "7"; }, "type must be number"),
      Signed(
          "NoTensors", [](Object& json) { json.erase("tensors"); }, "key 'tensors' not found"),
      Signed(
          "TensorsEmpty", [](Object& json) { json["tensors"] = Object::object(); },
          "has no tensor a"),
      Signed(
          "ShardsEmpty", [](Object& json) { json["shards"] = Object::array(); },
          "tensor a is not in rank-00000.safetensors"),
      Signed(
          "ShardsNull", [](Object& json) { json["shards"] = nullptr; }, "tensor a is not in"),
      Signed(
          "ShardElsewhere", [](Object& json) { json["shards"][0]["file"] = "../../x"; },
          "manifest.json: a shard is '../../x'; need the name of a file beside it"),
      Signed(
          "ShardWithoutName", [](Object& json) { json["shards"][0]["file"] = ""; },
          "a shard is ''; need the name"),
      Signed(
          "ShardLarger", [](Object& json) { json["shards"][0]["bytes"] = kLargest; },
          "has 240 bytes; need 9223372036854775807"),
      Signed(
          "ShardNegative", [](Object& json) { json["shards"][0]["bytes"] = -240; },
          "has 240 bytes; need -240"),
      Signed(
          "ShapeOther", [](Object& json) { json["tensors"]["a"]["shape"] = {4}; },
          "tensor a is F32 of 16 bytes"),
      Signed(
          "ShapeText", [](Object& json) { json["tensors"]["a"]["shape"] = "2x2"; },
          "type must be array"),
      Signed(
          "TensorOfAnotherShard", [](Object& json) { json["tensors"]["a"]["shard"] = "x"; },
          "tensor a is not in x"),
      Signed(
          "TensorMore", [](Object& json) { json["tensors"]["c"] = json["tensors"]["a"]; },
          "tensor c is not in rank-00000.safetensors"),
      Signed(
          "ChecksumOfATensor",
          [](Object& json) { json["tensors"]["b"]["checksum"] = "0000000000000000"; },
          "tensor b has checksum "),

      // Headers: what the readers of safetensors refuse, and others have crashed on.
      Header("LengthZero", "", "the header cannot be read", 0),
      Header("LengthLargest", "", "the header says it has 9223372036854775807 bytes", kLargest),
      Header("LengthBeyondTheLimit", "", "the header says it has 100000001 bytes", 100000001),
      Header("LengthOneTooMany", "", "the header says it has 233 bytes; the file has 232", 233),
      Header("NoJson", "not json", "the header cannot be read: "),
      Header("ListForHeader", "[]", "rank-00000.safetensors: "),
      Header("EmptyHeader", "{}", "the header's checksum is "),
      Header("TensorIsANumber", "{\"a\":5}", "the header cannot be read: "),
      Header("NoOffsets", R"({"a":{"dtype":"F32","shape":[2,2]}})", "key 'data_offsets' not found"),
      Header("NoType", R"({"a":{"shape":[2,2],"data_offsets":[0,16]}})", "key 'dtype' not found"),
      Header("OneOffset", Tensor("[0]"), "the header cannot be read: "),
      Header("OffsetsReversed", Tensor("[16,0]"), "tensor a lies outside of the file's 240 bytes"),
      Header("OffsetNegative", Tensor("[-16,0]"), "data_offsets hold -16"),
      Header("OffsetReal", Tensor("[0,16.5]"), "data_offsets hold 16.5"),
      Header("OffsetText", Tensor("[\"0\",16]"), "data_offsets hold \"0\""),
      Header("OffsetBeyond", Tensor("[0,1000]"), "tensor a lies outside of the file's 240 bytes"),
      Header("OffsetThatWraps", Tensor("[9223372036854775807,9223372036854775807]"),
             "data_offsets hold 9223372036854775807"),
      Header("OffsetOf64Bits", Tensor("[0,18446744073709551615]"),
             "data_offsets hold 18446744073709551615"),
      Header("OffsetOfMoreBits", Tensor("[0,99999999999999999999999]"), "data_offsets hold 9"),
      Header("ShapeNegative", R"({"a":{"dtype":"F32","shape":[-2,2],"data_offsets":[0,16]}})",
             "the header's checksum is "),
      Header("MetadataIsANumber",
             R"({"__metadata__":5,"a":{"dtype":"F32","shape":[4],)"
             R"("data_offsets":[0,16]}})",
             "the header cannot be read: "),
      Header("DeepHeader", Repeat("[", 200), "the header cannot be read: "),
  };
  return *kCheckpoints;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, OddCheckpointTest, ::testing::ValuesIn(OddCheckpoints()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace birkhoff
