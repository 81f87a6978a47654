// Attention of the GPU: each run of neighbouring sequences of one length goes to cuDNN (bf16) or to
// the plain kernels, by its shape alone.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/attention.h"
#include "kernels/cuda/ops.h"

namespace birkhoff::cuda {

class SdpaLibrary;

// T: float, bf16.  head_dim at most 256.  Thread-safe.
template <typename T>
class AttentionLibrary {
 public:
  // Of the GPU that is current.  `deterministic`: as of BackendOptions.
  static absl::StatusOr<std::unique_ptr<AttentionLibrary>> New(bool deterministic);
  ~AttentionLibrary();

  absl::Status Forward(const AttentionForwardArgs<T>& args, StreamHandle stream);
  absl::Status Backward(const AttentionBackwardArgs<T>& args, StreamHandle stream);

  // Of either pass.  Makes the plans of the shape, so that no step has to; where cuDNN refuses one,
  // the calls say so.
  int64_t WorkspaceBytes(const AttentionShape& shape) const;

 private:
  AttentionLibrary(std::unique_ptr<SdpaLibrary> sdpa, bool deterministic);
  const std::unique_ptr<SdpaLibrary> sdpa_;  // null: T is float
  const bool deterministic_;
};

}  // namespace birkhoff::cuda
