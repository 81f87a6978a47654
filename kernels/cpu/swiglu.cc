// SwiGLU on the CPU, a vector of elements at a time; the backward pass forms the sigmoid again.
#include "kernels/swiglu.h"

#include "core/base/status_macros.h"
#include "kernels/cpu/for_tokens.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {

namespace {

// No overflow turns into NaN: exp(-x) may be infinite.
template <typename V>
BIRKHOFF_INLINE V Sigmoid(V x) {
  return 1 / (1 + Exp(-x));
}

// Of both passes: the backward one gives the forward's bits.
template <typename V>
BIRKHOFF_INLINE V Activate(V gate, V sigmoid, V up) {
  return gate * sigmoid * up;
}

template <typename T>
void ForwardRow(const T* gate, const T* up, int64_t features, T* act) {
  ForLanesOf<T>(features, [&](LanesAt<T> at) {
    const Vec<T> g = at.Of(gate);
    at.Put(Activate(g, Sigmoid(g), at.Of(up)), act);
  });
}

template <typename T>
void BackwardRow(const T* gate, const T* up, const T* dact, int64_t features, T* dgate, T* dup,
                 T* act) {
  ForLanesOf<T>(features, [&](LanesAt<T> at) {
    const Vec<T> g = at.Of(gate), u = at.Of(up), d = at.Of(dact), sigmoid = Sigmoid(g);
    if (act != nullptr) at.Put(Activate(g, sigmoid, u), act);
    // silu'(g) = sigmoid (1 + g (1 - sigmoid))
    at.Put(d * u * sigmoid * (T(1) + g * (T(1) - sigmoid)), dgate);
    at.Put(d * g * sigmoid, dup);
  });
}

}  // namespace

template <typename T>
absl::Status SwiGluForward(const SwiGluForwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  ForTokens<T>(args.tokens, [&](Piece run) {
    for (int64_t t = run.first; t < run.end; ++t) {
      const T* gate = args.gate_up + t * 2 * args.features;
      if (t + 1 < args.tokens) {
        PrefetchToRead(gate + 2 * args.features, 2 * args.features);
        PrefetchToWrite(args.act + (t + 1) * args.features, args.features);
      }
      ForwardRow(gate, gate + args.features, args.features, args.act + t * args.features);
    }
  });
  return absl::OkStatus();
}

template <typename T>
absl::Status SwiGluBackward(const SwiGluBackwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  ForTokens<T>(args.tokens, [&](Piece run) {
    for (int64_t t = run.first; t < run.end; ++t) {
      const int64_t gate_row = t * 2 * args.features, up_row = gate_row + args.features;
      if (t + 1 < args.tokens) {
        const int64_t next = gate_row + 2 * args.features;
        PrefetchToRead(args.gate_up + next, 2 * args.features);
        PrefetchToRead(args.dact + (t + 1) * args.features, args.features);
        PrefetchToWrite(args.dgate_up + next, 2 * args.features);
      }
      BackwardRow(args.gate_up + gate_row, args.gate_up + up_row, args.dact + t * args.features,
                  args.features, args.dgate_up + gate_row, args.dgate_up + up_row,
                  args.act == nullptr ? nullptr : args.act + t * args.features);
    }
  });
  return absl::OkStatus();
}

template absl::Status SwiGluForward(const SwiGluForwardArgs<float>&);
template absl::Status SwiGluForward(const SwiGluForwardArgs<double>&);
template absl::Status SwiGluBackward(const SwiGluBackwardArgs<float>&);
template absl::Status SwiGluBackward(const SwiGluBackwardArgs<double>&);

}  // namespace birkhoff::cpu
