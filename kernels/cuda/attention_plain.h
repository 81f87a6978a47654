// Causal attention in plain CUDA, for what cuDNN does not do: float, head_dim that no tensor core
// takes, very short sequences.  All arithmetic is in float; sums run in a fixed order.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/attention.h"
#include "kernels/cuda/ops.h"

namespace birkhoff::cuda {

constexpr int kPlainMaxHeadDim = 256;

// Neighbouring sequences of one length, a part of a call's tokens.
struct SequenceRun {
  int64_t start = 0;   // first token
  int64_t length = 0;  // tokens of each sequence, > 0
  int64_t count = 0;   // sequences, > 0
};

// The arguments have been checked; head_dim <= kPlainMaxHeadDim; the shape's sequence_starts are
// not looked at.  Errors: INTERNAL the launch failed.
template <typename T>
absl::Status PlainAttentionForward(const AttentionForwardArgs<T>& args, const SequenceRun& run,
                                   StreamHandle stream);
// The workspace holds PlainAttentionWorkspaceBytes(shape).
template <typename T>
absl::Status PlainAttentionBackward(const AttentionBackwardArgs<T>& args, const SequenceRun& run,
                                    StreamHandle stream);
int64_t PlainAttentionWorkspaceBytes(const AttentionShape& shape);

}  // namespace birkhoff::cuda
