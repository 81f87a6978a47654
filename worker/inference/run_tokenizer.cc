// What the spec names, or else the caller, or else numbers.
#include "worker/inference/run_tokenizer.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/exit_status.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr char kRemedy[] =
    "--tokenizer bytes, the path of a SentencePiece .model, or none (text is numbers of tokens)";

// Numbers with spaces between them.
class NumberTokenizer final : public Tokenizer {
 public:
  explicit NumberTokenizer(int vocab_size) : vocab_size_(vocab_size) {}
  int vocab_size() const override { return vocab_size_; }
  int32_t end_of_document() const override { return -1; }
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text) const override {
    std::vector<int32_t> tokens;
    const absl::string_view view(text.data(), text.size());
    for (const absl::string_view word :
         absl::StrSplit(view, absl::ByAnyChar(" ,\t\r\n"), absl::SkipEmpty())) {
      int32_t token = 0;
      if (!absl::SimpleAtoi(word, &token) || token < 0 || token >= vocab_size_) {
        return absl::InvalidArgumentError(absl::StrCat("'", word,
                                                       "' is no token; need numbers from 0 to ",
                                                       vocab_size_ - 1, " (--tokenizer none)"));
      }
      tokens.push_back(token);
    }
    return tokens;
  }
  absl::StatusOr<std::string> Decode(std::span<const int32_t> tokens) const override {
    return absl::StrJoin(tokens, " ");
  }

 private:
  const int vocab_size_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizerOf(const JobSpec& spec,
                                                           const std::string& asked, Disk& disk) {
  if (asked == kNoTokenizer) return std::make_unique<NumberTokenizer>(spec.model.vocab_size);
  const std::string& name = asked.empty() ? spec.data.tokenizer : asked;
  if (name == kNoTokenizer) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the run's tokens were made elsewhere (data.tokenizer: none); give ", kRemedy));
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadTokenizer(disk, name);
  if (!tokenizer.ok() && asked.empty()) {
    return Reworded(tokenizer.status(),
                    absl::StrCat("the run's tokenizer: ", std::string(tokenizer.status().message()),
                                 "; --tokenizer names another place, or another one"));
  }
  RETURN_IF_ERROR(tokenizer.status());
  if ((*tokenizer)->vocab_size() > spec.model.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokenizer ", name, ": has ", (*tokenizer)->vocab_size(), " tokens, the model ",
        spec.model.vocab_size, "; give the one that its data were made with: ", kRemedy));
  }
  return tokenizer;
}

}  // namespace birkhoff
