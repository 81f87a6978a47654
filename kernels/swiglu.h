// SwiGLU: act = silu(gate) * up, silu(g) = g / (1 + exp(-g)).  Source: arXiv 2002.05202.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

template <typename T>
struct SwiGluForwardArgs {
  int64_t tokens = 0;
  int64_t features = 0;        // F > 0
  const T* gate_up = nullptr;  // [tokens, 2 F]: gate, then up
  T* act = nullptr;            // [tokens, F]
};

template <typename T>
struct SwiGluBackwardArgs {
  int64_t tokens = 0;
  int64_t features = 0;
  const T* gate_up = nullptr;
  const T* dact = nullptr;  // [tokens, F]
  T* dgate_up = nullptr;    // [tokens, 2 F], assigned; may be gate_up itself
  // [tokens, F], assigned: what the forward pass made, in its bits; may be dact itself.  Null: not
  // wanted.
  T* act = nullptr;
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const SwiGluForwardArgs<T>& args);
template <typename T>
absl::Status Validate(const SwiGluBackwardArgs<T>& args);

// Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.
namespace cpu {
template <typename T>
absl::Status SwiGluForward(const SwiGluForwardArgs<T>& args);
template <typename T>
absl::Status SwiGluBackward(const SwiGluBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
