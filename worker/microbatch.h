// A micro-batch: what the host knows of it (how many tokens, where sequences begin), and what goes
// to the device (positions, and the tokens that the first and last stage need).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/spec/footprint.h"
#include "kernels/device.h"

namespace birkhoff {

// Capacity is fixed by the plan; `tokens` may be less.
struct MicrobatchShape {
  int64_t tokens = 0;  // rows in use
  int num_sequences = 0;
  // [num_sequences + 1], ascending, first 0, last `tokens`.  Borrowed, in the host's memory: must
  // stay until the work is done.
  const int32_t* sequence_starts = nullptr;
};

// Sequences that follow each other; each is at least one token long.
class PackedSequences {
 public:
  explicit PackedSequences(std::span<const int> lengths);
  // Valid as long as this.
  MicrobatchShape shape() const;

 private:
  std::vector<int32_t> starts_;
};

// A kBatch buffer (footprint.h) as kernels read it: device addresses, but sequence_starts.
struct Microbatch {
  MicrobatchShape shape;
  const int32_t* positions = nullptr;  // [tokens], position inside its sequence (RoPE)
  const int32_t* inputs = nullptr;     // [tokens]
  const int32_t* targets = nullptr;    // [tokens]; negative: no target
};
Microbatch ViewMicrobatch(const StageLayout& layout, const MicrobatchShape& shape,
                          DevicePtr<std::byte> batch);

// The host's image of a kBatch buffer, from which it is uploaded.  Where the tokens stand, as long
// as the capacity: whoever loads fills the first `tokens` of each.
struct MicrobatchTokens {
  std::span<int32_t> inputs;
  std::span<int32_t> targets;
};
MicrobatchTokens TokensOf(const StageLayout& layout, std::byte* image);
// Each sequence counts from `first`.
void WritePositions(const StageLayout& layout, const MicrobatchShape& shape, std::byte* image,
                    int32_t first = 0);

}  // namespace birkhoff
