// Softmax cross entropy against one target per token, in nats.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace birkhoff {

struct CrossEntropySums {  // added to (+=)
  double loss = 0.0;       // sum over target tokens of lse(logits) - logits[target], in double
  int64_t targets = 0;     // tokens with a target
};

template <typename T>
struct CrossEntropyForwardArgs {
  int64_t tokens = 0;
  int64_t vocabulary = 0;            // V > 0
  const T* logits = nullptr;         // [tokens, V]
  const int32_t* targets = nullptr;  // [tokens], < V; negative: no target
};

template <typename T>
struct CrossEntropyBackwardArgs {
  int64_t tokens = 0;
  int64_t vocabulary = 0;
  const T* logits = nullptr;
  const int32_t* targets = nullptr;
  double scale = 1.0;    // 1 / target tokens of the whole step
  T* dlogits = nullptr;  // [tokens, V] = scale (softmax - one-hot), zeros without a target;
                         // assigned; may be logits itself
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const CrossEntropyForwardArgs<T>& args);
template <typename T>
absl::Status Validate(const CrossEntropyBackwardArgs<T>& args);

// Stable for any finite logits.  Errors: INVALID_ARGUMENT a rule above is broken, a target beyond
// the vocabulary among them; nothing was written.
namespace cpu {
template <typename T>
absl::Status CrossEntropyForward(const CrossEntropyForwardArgs<T>& args, CrossEntropySums& sums);
template <typename T>
absl::Status CrossEntropyBackward(const CrossEntropyBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
