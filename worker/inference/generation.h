// Text from a trained model: the prompt is read, then token after token is sampled and read in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/format/tokenizer.h"
#include "kernels/device.h"
#include "worker/inference/sampler.h"
#include "worker/inference/trained_model.h"

namespace birkhoff {

struct GenerationOptions {
  std::string prompt;  // empty: the beginning of a document
  int64_t max_tokens = 256;
  SamplingOptions sampling;
};

struct Generation {
  std::vector<int32_t> prompt_tokens;  // for an empty prompt the end of the document before
  std::vector<int32_t> tokens;         // without the end of the document
  std::string text;                    // of `tokens`
  bool ended = false;                  // by the end of the document, not by max_tokens
};

// `visit` gets each piece of the text as soon as it is certain; false ends the generation.  Errors:
// INVALID_ARGUMENT an option is not allowed, the prompt is no text of this tokenizer, or there is
// none and no token that ends documents; what Sampler::Next and the device say.
absl::StatusOr<Generation> Generate(const TrainedModel& model, const Tokenizer& tokenizer,
                                    Device& device, const GenerationOptions& options,
                                    const std::function<bool(std::string_view)>& visit);

}  // namespace birkhoff
