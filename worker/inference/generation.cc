// The loop of sampling: tokenizer, decoder, sampler, text.
#include "worker/inference/generation.h"

#include <memory>
#include <span>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "worker/inference/decoder.h"
#include "worker/inference/text_stream.h"

namespace birkhoff {
namespace {

// Bytes are tokens whatever they say; pieces stand for characters, with U+FFFD for what is none.
absl::Status CheckCharacters(const Tokenizer& tokenizer, const std::string& prompt,
                             std::span<const int32_t> tokens) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  ASSIGN_OR_RETURN(const std::string read, tokenizer.Decode(tokens));
  const bool replaced = read.find(kReplacement) != std::string::npos;
  if (!replaced || prompt.find(kReplacement) != std::string::npos) return absl::OkStatus();
  return absl::InvalidArgumentError("the prompt is not UTF-8, as this tokenizer needs it to be");
}

absl::StatusOr<std::vector<int32_t>> TokensOfPrompt(const Tokenizer& tokenizer,
                                                    const std::string& prompt) {
  ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.Encode(prompt));
  RETURN_IF_ERROR(CheckCharacters(tokenizer, prompt, tokens));
  if (!tokens.empty()) return tokens;
  if (tokenizer.end_of_document() < 0) {
    return absl::InvalidArgumentError(
        "the prompt is empty, and no token is known to begin with; need a --prompt");
  }
  return std::vector<int32_t>{tokenizer.end_of_document()};
}

}  // namespace

absl::StatusOr<Generation> Generate(const TrainedModel& model, const Tokenizer& tokenizer,
                                    Device& device, const GenerationOptions& options,
                                    const std::function<bool(std::string_view)>& visit) {
  RETURN_IF_ERROR(Validate(options.sampling));
  Generation result;
  ASSIGN_OR_RETURN(result.prompt_tokens, TokensOfPrompt(tokenizer, options.prompt));
  ASSIGN_OR_RETURN(const std::unique_ptr<Decoder> decoder, Decoder::Create(model, device));
  ASSIGN_OR_RETURN(TextStream text, TextStream::Create(tokenizer, result.prompt_tokens));
  Sampler sampler(options.sampling);
  const auto emit = [&](const std::string& piece) {
    result.text += piece;
    return piece.empty() || visit(piece);
  };
  // A model may have room for more tokens than its tokenizer has.
  const auto spoken = static_cast<size_t>(tokenizer.vocab_size());
  std::span<const int32_t> next = result.prompt_tokens;
  for (int32_t token = 0; static_cast<int64_t>(result.tokens.size()) < options.max_tokens;) {
    RETURN_IF_ERROR(decoder->Read(next));
    ASSIGN_OR_RETURN(token, sampler.Next(decoder->logits().first(spoken)));
    result.ended = token == tokenizer.end_of_document();
    if (result.ended) break;
    result.tokens.push_back(token);
    ASSIGN_OR_RETURN(const std::string piece, text.Push(token));
    if (!emit(piece)) return result;
    next = std::span<const int32_t>(&token, 1);
  }
  ASSIGN_OR_RETURN(const std::string rest, text.Finish());
  emit(rest);
  return result;
}

}  // namespace birkhoff
