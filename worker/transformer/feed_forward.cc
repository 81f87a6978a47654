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
void FormHidden(const Launch<T>& launch, const ModelSpec& model, const Microbatch& batch,
                const SubLayerTensors<T>& tensors) {
  Must(launch.backend.SwiGluForward(launch.stream, {.tokens = batch.shape.tokens,
                                                    .features = model.intermediate_size,
                                                    .gate_up = tensors.inner,
                                                    .act = tensors.middle}));
}

}  // namespace

template <typename T>
void FeedForwardForward(const Launch<T>& launch, const ModelSpec& model, const Microbatch& batch,
                        const SubLayerWeights<T>& weights, const SubLayerTensors<T>& tensors) {
  LinearForward(launch, GateUpShape(model, batch.shape.tokens), tensors.norm, weights.inner,
                tensors.inner);
  FormHidden(launch, model, batch, tensors);
  LinearForward<T>(launch, DownShape(model, batch.shape.tokens), tensors.middle, weights.outer,
                   tensors.y);
}

template <typename T>
void FeedForwardBackwardInput(const Launch<T>& launch, const ModelSpec& model,
                              const Microbatch& batch, const SubLayerWeights<T>& weights,
                              const SubLayerTensors<T>& tensors) {
  LinearBackwardInput(launch, DownShape(model, batch.shape.tokens), tensors.dy, weights.outer,
                      tensors.middle);
  Must(launch.backend.SwiGluBackward(launch.stream, {.tokens = batch.shape.tokens,
                                                     .features = model.intermediate_size,
                                                     .gate_up = tensors.inner,
                                                     .dact = tensors.middle,
                                                     .dgate_up = tensors.dinner}));
  LinearBackwardInput<T>(launch, GateUpShape(model, batch.shape.tokens), tensors.dinner,
                         weights.inner, tensors.dnorm);
}

template <typename T>
void FeedForwardBackwardWeight(const Launch<T>& launch, const ModelSpec& model,
                               const Microbatch& batch, const SubLayerWeights<T>& weights,
                               const SubLayerTensors<T>& tensors) {
  FormHidden(launch, model, batch, tensors);
  LinearBackwardWeight<T>(launch, DownShape(model, batch.shape.tokens), tensors.dy, tensors.middle,
                          weights.outer);
  LinearBackwardWeight<T>(launch, GateUpShape(model, batch.shape.tokens), tensors.dinner,
                          tensors.norm, weights.inner);
}

#define BIRKHOFF_INSTANTIATE(T)                                                                  \
  template void FeedForwardForward(const Launch<T>&, const ModelSpec&, const Microbatch&,        \
                                   const SubLayerWeights<T>&, const SubLayerTensors<T>&);        \
  template void FeedForwardBackwardInput(const Launch<T>&, const ModelSpec&, const Microbatch&,  \
                                         const SubLayerWeights<T>&, const SubLayerTensors<T>&);  \
  template void FeedForwardBackwardWeight(const Launch<T>&, const ModelSpec&, const Microbatch&, \
                                          const SubLayerWeights<T>&, const SubLayerTensors<T>&)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
