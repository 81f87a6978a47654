// The only file that includes SentencePiece.
#include "core/format/sentence_piece.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <unordered_map>
#include <utility>

namespace birkhoff {
namespace {

bool Report(const sentencepiece::util::Status& status, std::string* error) {
  if (!status.ok()) *error = status.ToString();
  return status.ok();
}

class Sentences final : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const std::vector<std::string>& sentences) : sentences_(sentences) {}
  bool done() const override { return at_ == sentences_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return sentences_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& sentences_;
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<SentencePiece> SentencePiece::Load(std::string_view model, std::string* error) {
  auto processor = std::make_unique<Processor>();
  if (!Report(processor->LoadFromSerializedProto(model), error)) return nullptr;
  return std::unique_ptr<SentencePiece>(new SentencePiece(std::move(processor)));
}

SentencePiece::SentencePiece(std::unique_ptr<Processor> processor)
    : processor_(std::move(processor)) {}

SentencePiece::~SentencePiece() = default;

int SentencePiece::size() const { return processor_->GetPieceSize(); }

int SentencePiece::end_of_text() const { return processor_->eos_id(); }

bool SentencePiece::Encode(std::string_view text, std::vector<int>* ids, std::string* error) const {
  return Report(processor_->Encode(text, ids), error);
}

bool SentencePiece::Decode(const std::vector<int>& ids, std::string* text,
                           std::string* error) const {
  return Report(processor_->Decode(ids, text), error);
}

bool TrainSentencePiece(const SentencePieceTraining& training,
                        const std::vector<std::string>& sentences, std::string* error) {
  Sentences iterator(sentences);
  const std::unordered_map<std::string, std::string> options = {
      {"model_prefix", training.model_prefix},
      {"vocab_size", std::to_string(training.vocab_size)},
      {"model_type", "bpe"},
      {"byte_fallback", "true"},
      {"character_coverage", "1.0"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"add_dummy_prefix", "false"},
      {"num_threads", "1"},  // the same model on every machine
      {"minloglevel", "2"},
  };
  return Report(sentencepiece::SentencePieceTrainer::Train(options, &iterator), error);
}

}  // namespace birkhoff
