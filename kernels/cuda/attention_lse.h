// Log sum exp of a run of sequences, between the contract's layout and cuDNN's.
#pragma once

#include "absl/status/status.h"
#include "kernels/cuda/attention_plain.h"

namespace birkhoff::cuda {

// lse [heads, tokens] -> packed [count, heads, length] of the run, and back.
absl::Status PackLse(const float* lse, float* packed, int64_t tokens, int heads,
                     const SequenceRun& run, StreamHandle stream);
absl::Status UnpackLse(const float* packed, float* lse, int64_t tokens, int heads,
                       const SequenceRun& run, StreamHandle stream);

}  // namespace birkhoff::cuda
