// The micro-batch descriptor that goes to every stage, and the tokens that the first and last stage
// need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/spec/footprint.h"

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

// Where the tokens of a kBatch buffer stand, as long as the capacity: whoever loads fills the first
// `tokens` of each.
struct MicrobatchTokens {
  std::span<int32_t> inputs;
  std::span<int32_t> targets;
};
MicrobatchTokens TokensOf(const StageLayout& layout, std::byte* batch);

// Writes counts, starts and positions of sequences that follow each other; each is at least one
// token long and together they fit the capacity.  The tokens are the caller's (TokensOf).
void DescribeMicrobatch(const StageLayout& layout, std::span<const int> sequence_lengths,
                        std::byte* batch);

// Both at once, for `inputs` and `targets` of the same length.
void WriteMicrobatch(const StageLayout& layout, std::span<const int> sequence_lengths,
                     std::span<const int32_t> inputs, std::span<const int32_t> targets,
                     std::byte* batch);

// Reads what was written.  The view lives as long as the buffer.
Microbatch ViewMicrobatch(const StageLayout& layout, const std::byte* batch);

}  // namespace birkhoff
