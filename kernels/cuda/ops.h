// The kernels of the GPU as plain functions, one per contract of kernels/*.h: pointers are device
// addresses, work goes to `stream`, nothing waits, allocates or synchronises.  CudaBackend
// (backend.h) puts them behind the seam; products and attention have classes of their own
// (gemm.h, attention.h), since their libraries keep state.
//
// T: float, bf16.  Errors: INVALID_ARGUMENT a rule of the contract is broken, nothing was launched;
// INTERNAL the launch failed.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/boundary.h"
#include "kernels/cross_entropy.h"
#include "kernels/gain.h"
#include "kernels/mapping.h"
#include "kernels/mixing.h"
#include "kernels/swiglu.h"

struct CUstream_st;

namespace birkhoff::cuda {

using StreamHandle = CUstream_st*;  // cudaStream_t, without CUDA's headers

template <typename T>
absl::Status BoundaryForward(const BoundaryForwardArgs<T>& args, StreamHandle stream);
template <typename T>
absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<T>& args, StreamHandle stream);
template <typename T>
absl::Status BoundaryBackward(const BoundaryBackwardArgs<T>& args, StreamHandle stream);
int64_t BoundaryWorkspaceBytes(const BoundaryShape& shape);

// Of the scalars (float): the policy that makes H_res from its logits, and its VJP.
absl::Status MixForward(const MixForwardArgs<float>& args, StreamHandle stream);
absl::Status MixBackward(const MixBackwardArgs<float>& args, StreamHandle stream);

template <typename T>
absl::Status RopeForward(const RopeArgs<T>& args, StreamHandle stream);
template <typename T>
absl::Status RopeBackward(const RopeArgs<T>& args, StreamHandle stream);

template <typename T>
absl::Status SwiGluForward(const SwiGluForwardArgs<T>& args, StreamHandle stream);
template <typename T>
absl::Status SwiGluBackward(const SwiGluBackwardArgs<T>& args, StreamHandle stream);

template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args, StreamHandle stream);
int64_t CrossEntropyWorkspaceBytes(int64_t tokens, int64_t vocabulary);

template <typename T>
absl::Status AccumulateGain(const GainArgs<T>& args, StreamHandle stream);
int64_t GainWorkspaceBytes(int streams, int64_t tokens);

template <typename T>
absl::Status AccumulateMixing(const MixingArgs<T>& args, StreamHandle stream);
int64_t MixingWorkspaceBytes();

template <typename T>
absl::Status AccumulateNorm(const GradientNormArgs<T>& args, StreamHandle stream);
int64_t NormWorkspaceBytes(int num_spans, int64_t count);
absl::Status DecideStep(const DecideStepArgs& args, StreamHandle stream);
template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args, StreamHandle stream);
template <typename T>
absl::Status RoundWeights(const ParameterSpans<T>& parameters, StreamHandle stream);

}  // namespace birkhoff::cuda
