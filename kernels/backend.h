// Everything that a device computes, one method per kernel contract, enqueued on a stream.  Code
// above names a backend nowhere: it is given one.
//
// Pointers in the arguments are addresses in the device's memory (DevicePtr::address) but where a
// contract says the host's; both must stay until the stream has passed.  One thread at a time may
// feed a stream; a backend serves several streams.
//
// Errors of all calls: INVALID_ARGUMENT a rule of the contract that the host can see is broken,
// nothing was enqueued; INTERNAL the launch failed.  What only the data shows (an id beyond the
// vocabulary) ends the process on the CPU, which looks, and is undefined on a GPU, which does not:
// whoever loads tokens checks them.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/boundary.h"
#include "kernels/cached_attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/device.h"
#include "kernels/gain.h"
#include "kernels/gemm_choices.h"
#include "kernels/matmul.h"
#include "kernels/mixing.h"
#include "kernels/swiglu.h"
#include "kernels/types.h"

namespace birkhoff {

// T: float, double (CPU) or float, bf16 (GPU).
template <typename T>
class Backend {
 public:
  using S = ScalarOf<T>;
  virtual ~Backend() = default;

  virtual absl::Status BoundaryForward(Stream& stream, const BoundaryForwardArgs<T>& args) = 0;
  virtual absl::Status BoundaryRecompute(Stream& stream, const BoundaryRecomputeArgs<T>& args) = 0;
  virtual absl::Status BoundaryBackward(Stream& stream, const BoundaryBackwardArgs<T>& args) = 0;

  virtual absl::Status Gemm(Stream& stream, const GemmArgs<T>& args) = 0;
  // The result is not rounded to T: logits, and gradients of weights.
  virtual absl::Status GemmWide(Stream& stream, const GemmArgs<T, S>& args) = 0;

  virtual absl::Status RopeForward(Stream& stream, const RopeArgs<T>& args) = 0;
  virtual absl::Status RopeBackward(Stream& stream, const RopeArgs<T>& args) = 0;
  virtual absl::Status AttentionForward(Stream& stream, const AttentionForwardArgs<T>& args) = 0;
  virtual absl::Status AttentionBackward(Stream& stream, const AttentionBackwardArgs<T>& args) = 0;
  // UNIMPLEMENTED on a GPU: text is generated on the CPU.
  virtual absl::Status CachedAttention(Stream& stream, const CachedAttentionArgs<T>& args) = 0;

  virtual absl::Status SwiGluForward(Stream& stream, const SwiGluForwardArgs<T>& args) = 0;
  virtual absl::Status SwiGluBackward(Stream& stream, const SwiGluBackwardArgs<T>& args) = 0;

  virtual absl::Status CrossEntropy(Stream& stream, const CrossEntropyArgs<T>& args) = 0;
  virtual absl::Status AccumulateGain(Stream& stream, const GainArgs<T>& args) = 0;
  virtual absl::Status AccumulateMixing(Stream& stream, const MixingArgs<T>& args) = 0;

  virtual absl::Status AccumulateNorm(Stream& stream, const GradientNormArgs<T>& args) = 0;
  virtual absl::Status DecideStep(Stream& stream, const DecideStepArgs& args) = 0;
  virtual absl::Status AdamW(Stream& stream, const AdamWArgs<T>& args) = 0;
  // Rounds the master weights into the copies of the spans that have one.
  virtual absl::Status RoundWeights(Stream& stream, const ParameterSpans<T>& parameters) = 0;

  // What products compute with that were chosen by a search or given; nothing on a CPU.
  virtual GemmChoices Products() const { return {}; }

  // Bytes of workspace of each call; calls on one stream may share one workspace.  What a rank's
  // plan sets aside (core/spec/workspace.h) must be at least this.
  virtual int64_t BoundaryWorkspaceBytes(const BoundaryShape& shape) const = 0;
  virtual int64_t GemmWorkspaceBytes() const = 0;
  virtual int64_t AttentionWorkspaceBytes(const AttentionShape& shape) const = 0;
  virtual int64_t CrossEntropyWorkspaceBytes(int64_t tokens, int64_t vocabulary) const = 0;
  virtual int64_t GainWorkspaceBytes(int streams, int64_t tokens) const = 0;
  virtual int64_t MixingWorkspaceBytes() const = 0;
  virtual int64_t NormWorkspaceBytes(const ParameterSpans<T>& parameters) const = 0;
};

struct BackendOptions {
  bool deterministic = true;  // the same bits each time; false may change the order of sums in the
                              // backward of attention on a GPU, nowhere else
  // Of a GPU's products: the algorithms of those that are in it, the heuristics' first for others.
  GemmChoices products = {};
  // The first call of each product that is not in it tries the candidates on its own operands, and
  // waits for them; the fastest serves from then on.  For calibration: c is written several times.
  bool search_products = false;
};

// For a device of either processor, which must outlive it.  Errors: UNIMPLEMENTED this build, or
// the device, has no such T; FAILED_PRECONDITION the products are of another card or library; what
// the device's libraries say.
template <typename T>
absl::StatusOr<std::unique_ptr<Backend<T>>> NewBackend(Device& device,
                                                       const BackendOptions& options);

namespace cpu {
template <typename T>  // float, double
std::unique_ptr<Backend<T>> NewBackend();
}  // namespace cpu

}  // namespace birkhoff
