// A few of the last tokens are decoded anew for each one that comes.
#include "worker/inference/text_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr size_t kContext = 8, kMost = 64;  // tokens that are kept, and when the others are dropped

// Bytes of the UTF-8 sequence that this byte begins; 0: it begins none.
size_t SequenceLength(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead < 0xe0) return 2;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

}  // namespace

size_t UnfinishedBytes(std::string_view text) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  size_t replaced = 0;
  while (replaced < 3 && text.substr(0, text.size() - replaced * 3).ends_with(kReplacement)) {
    ++replaced;
  }
  if (replaced > 0) return replaced * 3;
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    return SequenceLength(byte) > back ? back : 0;
  }
  return 0;
}

absl::StatusOr<TextStream> TextStream::Create(const Tokenizer& tokenizer,
                                              std::span<const int32_t> before) {
  TextStream stream(tokenizer);
  stream.tokens_.assign(before.begin(), before.end());
  RETURN_IF_ERROR(stream.Forget(kContext));
  return stream;
}

absl::Status TextStream::Forget(size_t kept) {
  if (tokens_.size() > kept) {
    tokens_.erase(tokens_.begin(), tokens_.end() - static_cast<ptrdiff_t>(kept));
  }
  ASSIGN_OR_RETURN(const std::string text, tokenizer_->Decode(tokens_));
  left_ = text.size();
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextStream::Push(int32_t token) {
  tokens_.push_back(token);
  ASSIGN_OR_RETURN(std::string text, tokenizer_->Decode(tokens_));
  const size_t finished = text.size() - UnfinishedBytes(text);
  if (finished <= left_) return std::string();
  const bool all = finished == text.size();
  text = text.substr(left_, finished - left_);
  left_ = finished;
  if (all && tokens_.size() > kMost) RETURN_IF_ERROR(Forget(kContext));
  return text;
}

absl::StatusOr<std::string> TextStream::Finish() {
  ASSIGN_OR_RETURN(const std::string text, tokenizer_->Decode(tokens_));
  const size_t from = std::exchange(left_, std::max(left_, text.size()));
  return from < text.size() ? text.substr(from) : std::string();
}

}  // namespace birkhoff
