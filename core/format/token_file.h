// Files of tokens, both directions: Megatron's .bin/.idx pair and llm.c's single .bin.  Grammar and
// examples: docs/formats.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/disk.h"

namespace birkhoff {

enum class TokenFormat { kMegatron, kLlmc };

// Codes of Megatron's indexed_dataset; they stand in .idx files and never change.
enum class TokenType : uint8_t {
  kUint8 = 1,
  kInt8 = 2,
  kInt16 = 3,
  kInt32 = 4,
  kInt64 = 5,
  kUint16 = 8,
  kUint32 = 255,  // ours alone, for llm.c's version 7; never written to an .idx
};
int TokenBytes(TokenType type);
const char* TokenTypeName(TokenType type);

// The files of a data set, from its path without extension, or with .bin or .idx.
struct TokenPaths {
  std::string stem;
  std::string bin;
  std::string idx;  // Megatron's; may not exist
};
TokenPaths TokenPathsOf(std::string_view path);

// One file, open for reading: not mapped, so that a file which shrinks meanwhile is an error and no
// signal.  Thread-safe.
class TokenFile {
 public:
  // Megatron where PATH.idx exists, else llm.c.  Errors: NOT_FOUND; INVALID_ARGUMENT the bytes are
  // not such a file, with file, offset, what stands there and what is needed.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path);
  ~TokenFile();
  TokenFile(const TokenFile&) = delete;
  TokenFile& operator=(const TokenFile&) = delete;

  const std::string& path() const { return bin_path_; }  // of the .bin
  TokenFormat format() const { return format_; }
  TokenType type() const { return type_; }
  int64_t num_tokens() const { return num_tokens_; }
  // First token of each document and, last, num_tokens().  Empty where the format does not say
  // (llm.c).
  const std::vector<int64_t>& documents() const { return documents_; }

  // Copies tokens [first, first + out.size()), which must have been inside the file when it was
  // opened, and checks each.  INVALID_ARGUMENT: one outside [0, vocab_size), named with its byte
  // offset; the file has been cut.  UNAVAILABLE: the disk cannot read.
  absl::Status Read(int64_t first, std::span<int32_t> out, int vocab_size) const;
  // As they stand there, unchecked: some types are wider than a token can be.
  absl::Status ReadWide(int64_t first, std::span<int64_t> out) const;

  // Reads the whole file.  INVALID_ARGUMENT names the first token outside [0, vocab_size), its byte
  // offset, and the largest of the file.
  absl::Status CheckVocabulary(int vocab_size) const;
  // Of the file's size and of 64 pieces that are spread over it, first and last included: another
  // file of the same size is most likely seen, in milliseconds.
  absl::StatusOr<std::string> SampleChecksum() const;

 private:
  class Descriptor;
  TokenFile();
  absl::Status CheckToken(int64_t index, int64_t token, int vocab_size) const;
  absl::StatusOr<std::string> ReadBytes(int64_t offset, int64_t length) const;
  absl::Status ParseLlmc();
  absl::Status ParseMegatron(const std::string& idx_path);

  std::string bin_path_;
  TokenFormat format_ = TokenFormat::kLlmc;
  TokenType type_ = TokenType::kUint16;
  int64_t num_tokens_ = 0;
  std::vector<int64_t> documents_;
  std::unique_ptr<const Descriptor> file_;
  int64_t size_ = 0;           // bytes, when it was opened
  int64_t tokens_offset_ = 0;  // of the first token in the file, bytes
};

// What tells a token file from another one at the same path.
struct TokenFacts {
  std::string path;  // of the .bin; the same data may move
  int64_t tokens = 0;
  std::string type;    // TokenTypeName
  std::string sample;  // SampleChecksum
};
absl::StatusOr<TokenFacts> FactsOf(const TokenFile& file);

// Writes one file, document by document.  Nothing stands under the final names before Publish,
// which renames, and nothing is left of a writer that goes without it.  Not thread-safe.
class TokenWriter {
 public:
  struct Options {
    std::string path;  // without extension, or with .bin
    TokenFormat format = TokenFormat::kMegatron;
    int vocab_size = 257;  // up to 65536 tokens take two bytes, more take four
  };
  // `disk` must outlive the writer.
  static absl::StatusOr<std::unique_ptr<TokenWriter>> Create(Disk& disk, const Options& options);

  // INVALID_ARGUMENT a token outside the vocabulary, or too many tokens for the format.
  absl::Status AddDocument(std::span<const int32_t> tokens);
  // Everything that can fail before the names: headers, index, durability.  No document may follow.
  absl::Status Prepare();
  // After Prepare: gives the files their names, the index last: a .bin alone is no data set.  On an
  // error neither has.
  absl::Status Publish();
  // Prepare and Publish.
  absl::Status Finish();
  // Takes the names back: the other file of a pair could not get its own.
  void Withdraw();
  ~TokenWriter();
  int64_t num_tokens() const { return num_tokens_; }
  const std::string& bin_path() const { return paths_.bin; }

 private:
  TokenWriter(Disk& disk, const Options& options);
  std::string IndexBytes() const;
  absl::Status PrepareLlmc();
  absl::Status WriteWhole(const std::string& path, std::string_view bytes);
  absl::Status Rename();
  void RemoveParts();

  Disk& disk_;
  const Options options_;
  const TokenPaths paths_;
  const TokenType type_;
  std::unique_ptr<WritableFile> body_;
  std::vector<int32_t> lengths_;  // of each document
  int64_t num_tokens_ = 0;
  bool named_ = false;  // the .bin has its name
  bool published_ = false;
};

}  // namespace birkhoff
