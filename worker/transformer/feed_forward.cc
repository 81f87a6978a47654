// SwiGLU feed-forward: one fused gate and up product, the gate, one down product.
#include "kernels/swiglu.h"
#include "worker/transformer/linear.h"
#include "worker/transformer/sublayer.h"

namespace birkhoff {
namespace {

template <typename T>
LinearShape GateUpShape(const SubLayerCall<T>& call) {
  return {call.tokens(), call.model.hidden_size, 2 * int64_t{call.model.intermediate_size}};
}

template <typename T>
LinearShape DownShape(const SubLayerCall<T>& call) {
  return {call.tokens(), call.model.intermediate_size, call.model.hidden_size};
}

// The down product's input, which no pass keeps: it costs less to form again than to store, and
// nothing where its gradient is at hand anyway.
template <typename T>
void FormHidden(const SubLayerCall<T>& call) {
  Must(call.launch.backend.SwiGluForward(call.launch.stream,
                                         {.tokens = call.tokens(),
                                          .features = call.model.intermediate_size,
                                          .gate_up = call.tensors.inner,
                                          .act = call.tensors.middle}));
}

}  // namespace

template <typename T>
void FeedForwardForward(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  LinearForward(launch, GateUpShape(call), tensors.norm, weights.inner, tensors.inner);
  FormHidden(call);
  LinearForward<T>(launch, DownShape(call), tensors.middle, weights.outer, tensors.y);
}

template <typename T>
void FeedForwardBackwardInput(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  LinearBackwardInput(launch, DownShape(call), tensors.dy, weights.outer, tensors.middle);
  Must(launch.backend.SwiGluBackward(launch.stream, {.tokens = call.tokens(),
                                                     .features = model.intermediate_size,
                                                     .gate_up = tensors.inner,
                                                     .dact = tensors.middle,
                                                     .dgate_up = tensors.dinner,
                                                     .act = at_once ? tensors.middle : nullptr}));
  LinearBackwardInput<T>(launch, GateUpShape(call), tensors.dinner, weights.inner, tensors.dnorm);
}

template <typename T>
void FeedForwardBackwardWeight(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  if (!at_once) FormHidden(call);
  LinearBackwardWeight<T>(launch, DownShape(call), tensors.dy, tensors.middle, weights.outer, add);
  LinearBackwardWeight<T>(launch, GateUpShape(call), tensors.dinner, tensors.norm, weights.inner,
                          add);
}

#define BIRKHOFF_INSTANTIATE(T)                                        \
  template void FeedForwardForward(const SubLayerCall<T>& call);       \
  template void FeedForwardBackwardInput(const SubLayerCall<T>& call); \
  template void FeedForwardBackwardWeight(const SubLayerCall<T>& call)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
