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

// One file, mapped for reading.  Thread-safe.  The file must not shrink while it is open.
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

  // Copies tokens [first, first + out.size()), which must lie inside the file.
  void Read(int64_t first, std::span<int32_t> out) const;

  // Reads the whole file.  INVALID_ARGUMENT names the first token outside [0, vocab_size) and its
  // byte offset.
  absl::Status CheckVocabulary(int vocab_size) const;

 private:
  struct Mapping;
  TokenFile();
  absl::Status ParseLlmc();
  absl::Status ParseMegatron(const std::string& idx_path);

  std::string bin_path_;
  TokenFormat format_ = TokenFormat::kLlmc;
  TokenType type_ = TokenType::kUint16;
  int64_t num_tokens_ = 0;
  std::vector<int64_t> documents_;
  std::unique_ptr<Mapping> mapping_;
  const std::byte* tokens_ = nullptr;  // inside the mapping, at the first token
  int64_t tokens_offset_ = 0;          // of the first token in the file, bytes
};

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
