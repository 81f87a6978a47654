// SentencePiece behind plain C++ types.  Its headers declare a namespace absl of their own that
// cannot stand beside Abseil's, and its library carries an old Protocol Buffers: nothing that
// includes Abseil may include them, and nothing that links gRPC may link them (docs/decisions).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace birkhoff {

// A loaded model.  Thread-safe.  Where a call fails it returns false or null and sets `error`.
class SentencePiece {
 public:
  virtual ~SentencePiece() = default;
  static std::unique_ptr<SentencePiece> Load(std::string_view model, std::string* error);

  virtual int size() const = 0;         // pieces
  virtual int end_of_text() const = 0;  // id of </s>; negative: the model has none
  virtual bool Encode(std::string_view text, std::vector<int>* ids, std::string* error) const = 0;
  virtual bool Decode(const std::vector<int>& ids, std::string* text, std::string* error) const = 0;
};

struct SentencePieceTraining {
  std::string model_prefix;  // writes PREFIX.model and PREFIX.vocab
  int vocab_size = 8000;
};

// Byte-pair encoding that gives every text back as it was: bytes stand in for unknown characters,
// and nothing is normalised.  Only U+2581, SentencePiece's own mark, comes back as a space.
bool TrainSentencePiece(const SentencePieceTraining& training,
                        const std::vector<std::string>& sentences, std::string* error);

}  // namespace birkhoff
