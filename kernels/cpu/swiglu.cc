// SwiGLU on the CPU, element by element; the backward pass forms the sigmoid again.
#include "kernels/swiglu.h"

#include "core/base/status_macros.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/sigmoid.h"

namespace birkhoff::cpu {

template <typename T>
absl::Status SwiGluForward(const SwiGluForwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int64_t t = 0; t < args.tokens; ++t) {
    const T* gate = args.gate_up + t * 2 * args.features;
    const T* up = gate + args.features;
    T* act = args.act + t * args.features;
    for (int64_t f = 0; f < args.features; ++f) {
      act[f] = gate[f] * Sigmoid(gate[f]) * up[f];
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status SwiGluBackward(const SwiGluBackwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int64_t t = 0; t < args.tokens; ++t) {
    const int64_t gate_row = t * 2 * args.features, up_row = gate_row + args.features;
    const T *gate = args.gate_up + gate_row, *up = args.gate_up + up_row;
    const T* dact = args.dact + t * args.features;
    T *dgate = args.dgate_up + gate_row, *dup = args.dgate_up + up_row;
    BIRKHOFF_INDEPENDENT
    for (int64_t f = 0; f < args.features; ++f) {
      const T g = gate[f], u = up[f], sigmoid = Sigmoid(g);
      // silu'(g) = sigmoid (1 + g (1 - sigmoid))
      dgate[f] = dact[f] * u * sigmoid * (T(1) + g * (T(1) - sigmoid));
      dup[f] = dact[f] * g * sigmoid;
    }
  }
  return absl::OkStatus();
}

template absl::Status SwiGluForward(const SwiGluForwardArgs<float>&);
template absl::Status SwiGluForward(const SwiGluForwardArgs<double>&);
template absl::Status SwiGluBackward(const SwiGluBackwardArgs<float>&);
template absl::Status SwiGluBackward(const SwiGluBackwardArgs<double>&);

}  // namespace birkhoff::cpu
