// The micro-batch descriptor that goes to every stage, and the tokens that the first and last stage
// need.
#pragma once

#include <cstdint>

namespace birkhoff {

// Views into a kBatch buffer (footprint.h).  Capacity is fixed by the plan; `tokens` may be less.
struct Microbatch {
  int64_t tokens = 0;  // rows in use
  int num_sequences = 0;
  const int32_t* sequence_starts =
      nullptr;                         // [num_sequences + 1], ascending, first 0, last `tokens`
  const int32_t* positions = nullptr;  // [tokens], position inside its sequence (RoPE)
  const int32_t* inputs = nullptr;     // [tokens]
  const int32_t* targets = nullptr;    // [tokens]; negative: no target
};

}  // namespace birkhoff
