// Tokens to text as they come: a piece of text leaves as soon as no later token can change it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/format/tokenizer.h"

namespace birkhoff {

// What stands at the end of a text and may still become a character: the beginning of a UTF-8
// sequence, or up to three U+FFFD, which decoders write for one.  In bytes.
size_t UnfinishedBytes(std::string_view text);

// All pieces and what Finish gives are the tokens' text as it follows that of `before`.  Not
// thread-safe; the tokenizer must outlive it.
class TextStream {
 public:
  // Errors of all calls: what Tokenizer::Decode says.
  static absl::StatusOr<TextStream> Create(const Tokenizer& tokenizer,
                                           std::span<const int32_t> before);
  absl::StatusOr<std::string> Push(int32_t token);
  absl::StatusOr<std::string> Finish();  // what was held back, as it is

 private:
  explicit TextStream(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  absl::Status Forget(size_t kept);

  const Tokenizer* tokenizer_;
  std::vector<int32_t> tokens_;  // the last ones: how a token reads depends on those before it
  size_t left_ = 0;              // bytes of their text that have left
};

}  // namespace birkhoff
