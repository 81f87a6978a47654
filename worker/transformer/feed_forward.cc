// SwiGLU feed-forward: one fused gate and up product, the gate, one down product.
#include "kernels/swiglu.h"
#include "worker/transformer/linear.h"
#include "worker/transformer/sublayer.h"

namespace birkhoff {
namespace {

LinearShape GateUpShape(const ModelSpec& model, int64_t tokens) {
  return {.tokens = tokens,
          .inputs = model.hidden_size,
          .outputs = 2 * int64_t{model.intermediate_size}};
}

LinearShape DownShape(const ModelSpec& model, int64_t tokens) {
  return {.tokens = tokens, .inputs = model.intermediate_size, .outputs = model.hidden_size};
}

// The down product's input, which no pass keeps: it costs less to form again than to store.
template <typename T>
void FormHidden(const ModelSpec& model, const Microbatch& batch,
                const SubLayerTensors<T>& tensors) {
  Must(cpu::SwiGluForward<T>({.tokens = batch.tokens,
                              .features = model.intermediate_size,
                              .gate_up = tensors.inner,
                              .act = tensors.middle}));
}

}  // namespace

template <typename T>
void FeedForwardForward(const ModelSpec& model, const Microbatch& batch,
                        const SubLayerWeights<T>& weights, const SubLayerTensors<T>& tensors) {
  LinearForward(GateUpShape(model, batch.tokens), tensors.norm, weights.inner, tensors.inner);
  FormHidden(model, batch, tensors);
  LinearForward<T>(DownShape(model, batch.tokens), tensors.middle, weights.outer, tensors.y);
}

template <typename T>
void FeedForwardBackwardInput(const ModelSpec& model, const Microbatch& batch,
                              const SubLayerWeights<T>& weights,
                              const SubLayerTensors<T>& tensors) {
  LinearBackwardInput(DownShape(model, batch.tokens), tensors.dy, weights.outer, tensors.middle);
  Must(cpu::SwiGluBackward<T>({.tokens = batch.tokens,
                               .features = model.intermediate_size,
                               .gate_up = tensors.inner,
                               .dact = tensors.middle,
                               .dgate_up = tensors.dinner}));
  LinearBackwardInput<T>(GateUpShape(model, batch.tokens), tensors.dinner, weights.inner,
                         tensors.dnorm);
}

template <typename T>
void FeedForwardBackwardWeight(const ModelSpec& model, const Microbatch& batch,
                               const SubLayerWeights<T>& weights,
                               const SubLayerTensors<T>& tensors) {
  FormHidden(model, batch, tensors);
  LinearBackwardWeight<T>(DownShape(model, batch.tokens), tensors.dy, tensors.middle,
                          weights.outer);
  LinearBackwardWeight<T>(GateUpShape(model, batch.tokens), tensors.dinner, tensors.norm,
                          weights.inner);
}

#define BIRKHOFF_INSTANTIATE(T)                                                                    \
  template void FeedForwardForward(const ModelSpec&, const Microbatch&, const SubLayerWeights<T>&, \
                                   const SubLayerTensors<T>&);                                     \
  template void FeedForwardBackwardInput(const ModelSpec&, const Microbatch&,                      \
                                         const SubLayerWeights<T>&, const SubLayerTensors<T>&);    \
  template void FeedForwardBackwardWeight(const ModelSpec&, const Microbatch&,                     \
                                          const SubLayerWeights<T>&, const SubLayerTensors<T>&)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
