// Scaled dot-product attention of cuDNN: causal, grouped queries, bf16, sequences of one length.
//
// A graph and its plan are made for each shape when first asked for, then kept: making one takes up
// to seconds and may load kernels, running one only queues work.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/ops.h"
#include "kernels/types.h"

namespace birkhoff::cuda {

struct SdpaShape {
  int64_t batch = 0, length = 0;  // sequences one behind the other, > 1 token each
  int64_t heads = 0, kv_heads = 0;
  int64_t head_dim = 0;    // a multiple of 8, at most 128
  int64_t qkv_stride = 0;  // as of AttentionShape; a multiple of 8

  auto operator<=>(const SdpaShape&) const = default;
};

// As of AttentionForwardArgs and AttentionBackwardArgs, but 16-byte aligned, and lse is
// [batch, heads, length].
struct SdpaForwardBuffers {
  const bf16 *q, *k, *v;
  bf16* out;
  float* lse;
  void* workspace;
};
struct SdpaBackwardBuffers {
  const bf16 *q, *k, *v, *out;
  const float* lse;
  const bf16* dout;
  bf16 *dq, *dk, *dv;
  void* workspace;
};

// Of the GPU that is current when it is made.  Thread-safe.  Errors: INTERNAL cuDNN refuses the
// shape or the call: its words.
class SdpaLibrary {
 public:
  // `deterministic`: the backward pass gives the same bits each time, and takes batch * heads *
  // length^2 * 2 bytes of workspace for it.
  static absl::StatusOr<std::unique_ptr<SdpaLibrary>> New(bool deterministic);
  ~SdpaLibrary();

  // Of either pass.  Makes both plans.
  absl::StatusOr<int64_t> WorkspaceBytes(const SdpaShape& shape);
  absl::Status Forward(const SdpaShape& shape, const SdpaForwardBuffers& buffers,
                       StreamHandle stream);
  absl::Status Backward(const SdpaShape& shape, const SdpaBackwardBuffers& buffers,
                        StreamHandle stream);

 private:
  class Impl;
  explicit SdpaLibrary(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace birkhoff::cuda
