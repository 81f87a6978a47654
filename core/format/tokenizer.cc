// The two tokenizers.
#include "core/format/tokenizer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/format/sentence_piece.h"

namespace birkhoff {
namespace {

constexpr int32_t kEndOfBytes = 256;
constexpr size_t kMaxLine = 4096;  // SentencePiece skips longer training sentences

absl::Status OutsideVocabulary(int32_t token, int vocab_size) {
  return absl::InvalidArgumentError(
      absl::StrCat("token ", token, " is outside the vocabulary; need 0 to ", vocab_size - 1));
}

class BytesTokenizer final : public Tokenizer {
 public:
  int vocab_size() const override { return kEndOfBytes + 1; }
  int32_t end_of_document() const override { return kEndOfBytes; }
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    std::vector<int32_t> tokens;
    tokens.reserve(text.size() + 1);  // the caller adds the document's end
    for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
    return tokens;
  }
  absl::StatusOr<std::string> Decode(std::span<const int32_t> tokens) const override {
    std::string text;
    for (const int32_t token : tokens) {
      if (token < 0 || token > kEndOfBytes) return OutsideVocabulary(token, vocab_size());
      if (token != kEndOfBytes) text += static_cast<char>(token);
    }
    return text;
  }
};

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(std::unique_ptr<SentencePiece> model)
      : model_(std::move(model)) {}
  int vocab_size() const override { return model_->size(); }
  int32_t end_of_document() const override { return model_->end_of_text(); }
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    std::vector<int> ids;
    std::string error;
    if (!model_->Encode(text, &ids, &error)) return absl::InternalError(error);
    return ids;
  }
  absl::StatusOr<std::string> Decode(std::span<const int32_t> tokens) const override {
    std::vector<int> ids;
    for (const int32_t token : tokens) {
      if (token < 0 || token >= vocab_size()) return OutsideVocabulary(token, vocab_size());
      if (token != end_of_document()) ids.push_back(token);
    }
    std::string text, error;
    if (!model_->Decode(ids, &text, &error)) return absl::InternalError(error);
    return text;
  }

 private:
  std::unique_ptr<SentencePiece> model_;
};

// Lines, cut where one is too long to be used.
void AppendSentences(std::string_view text, std::vector<std::string>* sentences) {
  while (!text.empty()) {
    size_t end = std::min({text.find('\n'), text.size(), kMaxLine});
    while (end > 1 && end < text.size() && (text[end] & 0xc0) == 0x80) --end;  // inside a character
    if (end > 0) sentences->emplace_back(text.substr(0, end));
    text.remove_prefix(end < text.size() && text[end] == '\n' ? end + 1 : end);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(Disk& disk, const std::string& name) {
  if (name == "bytes") return std::make_unique<BytesTokenizer>();
  absl::StatusOr<std::string> bytes = disk.Read(name);
  if (!bytes.ok()) {
    return absl::Status(bytes.status().code(),
                        absl::StrCat(std::string(bytes.status().message()),
                                     "; need bytes, or the path of a SentencePiece .model (train "
                                     "one with: birkhoff data train-tokenizer)"));
  }
  std::string error;
  std::unique_ptr<SentencePiece> model = SentencePiece::Load(*bytes, &error);
  if (model == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", error, "; need a SentencePiece .model"));
  }
  if (model->end_of_text() < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": has no </s>; need a model with an end-of-sentence piece"));
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(model));
}

absl::Status TrainTokenizer(const std::vector<std::string>& texts, int vocab_size,
                            const std::string& path) {
  if (!absl::EndsWith(path, ".model")) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": need a name that ends in .model"));
  }
  std::vector<std::string> sentences;
  for (const std::string& text : texts) AppendSentences(text, &sentences);
  if (sentences.empty()) return absl::InvalidArgumentError("no text to train a tokenizer on");
  const SentencePieceTraining training = {path.substr(0, path.size() - 6), vocab_size};
  std::string error;
  if (TrainSentencePiece(training, sentences, &error)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": vocabulary of ", vocab_size, ": ", error));
}

}  // namespace birkhoff
