// What a model says comes next, token by token.
//
// A model knows positions up to the sequence length that it was trained with: its context.  A text
// that grows beyond it is read through a window: when the window is full, its older half is
// forgotten and the newer half is read anew from position 0.  So every token is seen with at least
// half a context before it (if there is so much), no position is one that training has not seen,
// and reading anew costs about as much per token as one more token.  To evict one token at a time
// would cost nothing, but leave keys that were formed from what is gone: another function than the
// model's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device.h"
#include "worker/inference/trained_model.h"
#include "worker/inference/whole_model.h"

namespace birkhoff {

// Not thread-safe.
class Decoder {
 public:
  // Model and device must outlive it.  Errors: RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(const TrainedModel& trained,
                                                         Device& device);

  int64_t context() const { return cache_.capacity(); }  // tokens

  // The text goes on with these tokens, at least one, each inside the vocabulary; of more than a
  // context the last are read.
  absl::Status Read(std::span<const int32_t> tokens);
  // [vocabulary], of what follows the last token read; not normalised.
  std::span<const float> logits() const { return logits_; }

 private:
  Decoder(std::unique_ptr<WholeModel> model, KeyValueCache<float> cache, int vocab_size)
      : model_(std::move(model)), cache_(std::move(cache)), logits_(size_t(vocab_size)) {}
  absl::Status Extend(std::span<const int32_t> tokens);

  const std::unique_ptr<WholeModel> model_;
  KeyValueCache<float> cache_;
  std::vector<int32_t> window_;  // the tokens in the cache
  std::vector<float> logits_;
};

}  // namespace birkhoff
