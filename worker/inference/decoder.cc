// The window over a growing text, and its cache.
#include "worker/inference/decoder.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/status_macros.h"

namespace birkhoff {

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Create(const TrainedModel& trained,
                                                         Device& device) {
  const ModelSpec& model = trained.spec().model;
  const int context = trained.spec().training.sequence_length;
  ASSIGN_OR_RETURN(std::unique_ptr<WholeModel> whole,
                   WholeModel::Create(trained, context, context, device));
  ASSIGN_OR_RETURN(KeyValueCache<float> cache,
                   KeyValueCache<float>::Create(model, context, device));
  return std::unique_ptr<Decoder>(
      new Decoder(std::move(whole), std::move(cache), model.vocab_size));
}

absl::Status Decoder::Read(std::span<const int32_t> tokens) {
  BIRKHOFF_CHECK(!tokens.empty(), "nothing to read");
  const auto size = static_cast<size_t>(context());
  if (window_.size() + tokens.size() <= size) return Extend(tokens);
  // The new tokens, as many as a context holds, and half a context at least.
  const size_t kept = std::max((size + 1) / 2, std::min(tokens.size(), size));
  std::vector<int32_t> text = std::move(window_);
  text.insert(text.end(), tokens.begin(), tokens.end());
  window_.clear();
  cache_.Clear();
  return Extend(std::span<const int32_t>(text).last(kept));
}

absl::Status Decoder::Extend(std::span<const int32_t> tokens) {
  std::ranges::copy(tokens, model_->tokens().inputs.begin());
  RETURN_IF_ERROR(model_->Extend(static_cast<int64_t>(tokens.size()), cache_, logits_));
  window_.insert(window_.end(), tokens.begin(), tokens.end());
  return absl::OkStatus();
}

}  // namespace birkhoff
