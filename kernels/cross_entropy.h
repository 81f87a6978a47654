// Softmax cross entropy against one target per token, in nats, and its gradient, of some rows of
// logits: a head takes its tokens a few rows at a time and never holds the logits of all.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

struct CrossEntropySums {  // added to (+=)
  double loss = 0.0;       // sum over target tokens of lse(logits) - logits[target], in double
  double targets = 0.0;    // tokens with a target
};

template <typename T>
struct CrossEntropyArgs {
  int64_t tokens = 0;                   // rows
  int64_t vocabulary = 0;               // V > 0
  const ScalarOf<T>* logits = nullptr;  // [tokens, V]
  const int32_t* targets = nullptr;     // [tokens], < V; negative: no target
  CrossEntropySums* sums = nullptr;     // in the backend's memory
  double scale = 1.0;                   // 1 / target tokens of the whole step
  // [tokens, V] = scale (softmax - one-hot), zeros without a target; assigned; may be logits itself
  // where both have one type; null: not wanted.
  T* dlogits = nullptr;
  void* workspace = nullptr;  // as many bytes as the backend says
};

// What every backend checks first: shapes and pointers; the errors below.
template <typename T>
absl::Status Validate(const CrossEntropyArgs<T>& args);

// Stable for any finite logits; a NaN reaches the loss.  Rows are added in a fixed order.
// Errors: INVALID_ARGUMENT a rule above is broken, a target beyond the vocabulary among them;
// nothing was written.  T: float, double.
namespace cpu {
template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
