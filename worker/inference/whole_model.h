// A trained model as one stage, with the buffers of one micro-batch: what generation and evaluation
// compute with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/device.h"
#include "worker/inference/trained_model.h"
#include "worker/microbatch.h"
#include "worker/transformer/transformer_stage.h"

namespace birkhoff {

// Not thread-safe.  On a CPU in fp32.
class WholeModel {
 public:
  // For micro-batches of up to `tokens` tokens in sequences of up to `sequence_length`.  Model and
  // device must outlive it.  Errors: RESOURCE_EXHAUSTED the buffers do not fit into memory.
  static absl::StatusOr<std::unique_ptr<WholeModel>> Create(const TrainedModel& trained,
                                                            int64_t tokens, int sequence_length,
                                                            Device& device);

  // Where the next micro-batch's tokens are to be written: `tokens` long each.
  MicrobatchTokens tokens() { return TokensOf(stage_->layout(), image_->data()); }

  struct Loss {
    double sum = 0.0;  // nats, over target tokens
    double targets = 0.0;
  };
  // Of the tokens that were written, in sequences as `shape` says; added to what came before.
  absl::StatusOr<Loss> AddLoss(const MicrobatchShape& shape);

  // Goes on with the sequence of `cache` by the inputs that were written, `count` of them; fills
  // `logits` [vocabulary] with those of what comes next.
  absl::Status Extend(int64_t count, KeyValueCache<float>& cache, std::span<float> logits);

 private:
  WholeModel() = default;
  void Load(const MicrobatchShape& shape, int32_t first_position);

  Device* device_ = nullptr;
  std::unique_ptr<Backend<float>> backend_;
  std::unique_ptr<DeviceMemory> share_, logits_, batch_, evaluation_, scratch_;
  std::unique_ptr<HostMemory> image_;
  Beside beside_;
  std::unique_ptr<TransformerStage<float>> stage_;
  StageBuffers buffers_;
  std::unique_ptr<Stream> stream_;  // last: it is done before anything goes
};

}  // namespace birkhoff
