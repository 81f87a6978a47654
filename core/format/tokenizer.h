// Text to tokens and back: raw bytes, or a SentencePiece model.
#pragma once

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

// Thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual int vocab_size() const = 0;
  virtual int32_t end_of_document() const = 0;  // stands behind each document
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const = 0;
  // Documents' ends become nothing.  INVALID_ARGUMENT: a token outside the vocabulary.
  virtual absl::StatusOr<std::string> Decode(std::span<const int32_t> tokens) const = 0;
};

// `name` is "bytes" (256 bytes and token 256, the end of a document) or the path of a SentencePiece
// .model.  Errors: NOT_FOUND; INVALID_ARGUMENT the file is no such model, or has no </s>.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(Disk& disk, const std::string& name);

// Trains a SentencePiece model on the lines of the given texts and writes `path`, which must end in
// .model, and the readable list of pieces beside it.
absl::Status TrainTokenizer(const std::vector<std::string>& texts, int vocab_size,
                            const std::string& path);

}  // namespace birkhoff
