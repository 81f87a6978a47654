// SentencePiece behind plain C++ types.  Its headers declare a namespace absl of their own that
// cannot stand beside Abseil's, and its library carries an old Protocol Buffers: nothing that
// includes Abseil may include them, and nothing that links gRPC may link them (docs/decisions).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace birkhoff {

// A loaded model.  Thread-safe.  Where a call fails it returns false or null and sets `error`.
class SentencePiece {
 public:
  static std::unique_ptr<SentencePiece> Load(std::string_view model, std::string* error);
  ~SentencePiece();

  int size() const;         // pieces
  int end_of_text() const;  // id of </s>; negative: the model has none
  bool Encode(std::string_view text, std::vector<int>* ids, std::string* error) const;
  bool Decode(const std::vector<int>& ids, std::string* text, std::string* error) const;

 private:
  using Processor = sentencepiece::SentencePieceProcessor;
  explicit SentencePiece(std::unique_ptr<Processor> processor);

  const std::unique_ptr<const Processor> processor_;
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
