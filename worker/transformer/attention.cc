// Causal grouped-query attention with rotary positions: one fused q, k, v product, the attention,
// one output product.
#include "kernels/attention.h"

#include "worker/transformer/connection.h"
#include "worker/transformer/linear.h"
#include "worker/transformer/sublayer.h"

namespace birkhoff {
namespace {

struct Widths {
  explicit Widths(const ModelSpec& model)
      : hidden(model.hidden_size),
        head_dim(HeadDim(model)),
        queries(model.num_attention_heads * head_dim),
        keys(model.num_key_value_heads * head_dim),
        qkv(queries + 2 * keys) {}
  int64_t hidden, head_dim, queries, keys, qkv;
};

LinearShape QkvShape(const Widths& widths, int64_t tokens) {
  return {.tokens = tokens, .inputs = widths.hidden, .outputs = widths.qkv};
}

LinearShape OutShape(const Widths& widths, int64_t tokens) {
  return {.tokens = tokens, .inputs = widths.queries, .outputs = widths.hidden};
}

// Query and key heads lie side by side: one call turns them all.
template <typename T>
RopeArgs<T> RopeOf(const ModelSpec& model, const Microbatch& batch, T* qkv) {
  return {.tokens = batch.shape.tokens,
          .heads = model.num_attention_heads + model.num_key_value_heads,
          .head_dim = HeadDim(model),
          .theta = model.rope_theta,
          .positions = batch.positions,
          .x = qkv,
          .stride = Widths(model).qkv};
}

}  // namespace

template <typename T>
void AttentionForward(const Launch<T>& launch, const ModelSpec& model, const Microbatch& batch,
                      const SubLayerWeights<T>& weights, const SubLayerTensors<T>& tensors) {
  const Widths widths(model);
  T* qkv = tensors.inner;
  LinearForward(launch, QkvShape(widths, batch.shape.tokens), tensors.norm, weights.inner, qkv);
  Must(launch.backend.RopeForward(launch.stream, RopeOf(model, batch, qkv)));
  Must(
      launch.backend.AttentionForward(launch.stream, {.shape = AttentionShapeOf(model, batch.shape),
                                                      .q = qkv,
                                                      .k = qkv + widths.queries,
                                                      .v = qkv + widths.queries + widths.keys,
                                                      .out = tensors.attention,
                                                      .lse = tensors.log_sum_exp,
                                                      .workspace = launch.workspace}));
  LinearForward<T>(launch, OutShape(widths, batch.shape.tokens), tensors.attention, weights.outer,
                   tensors.y);
}

template <typename T>
void AttentionBackwardInput(const Launch<T>& launch, const ModelSpec& model,
                            const Microbatch& batch, const SubLayerWeights<T>& weights,
                            const SubLayerTensors<T>& tensors) {
  const Widths widths(model);
  const T* qkv = tensors.inner;
  T* dqkv = tensors.dinner;
  LinearBackwardInput(launch, OutShape(widths, batch.shape.tokens), tensors.dy, weights.outer,
                      tensors.middle);
  Must(launch.backend.AttentionBackward(launch.stream,
                                        {.shape = AttentionShapeOf(model, batch.shape),
                                         .q = qkv,
                                         .k = qkv + widths.queries,
                                         .v = qkv + widths.queries + widths.keys,
                                         .out = tensors.attention,
                                         .lse = tensors.log_sum_exp,
                                         .dout = tensors.middle,
                                         .dq = dqkv,
                                         .dk = dqkv + widths.queries,
                                         .dv = dqkv + widths.queries + widths.keys,
                                         .workspace = launch.workspace}));
  Must(launch.backend.RopeBackward(launch.stream, RopeOf(model, batch, dqkv)));
  LinearBackwardInput<T>(launch, QkvShape(widths, batch.shape.tokens), dqkv, weights.inner,
                         tensors.dnorm);
}

template <typename T>
void AttentionBackwardWeight(const Launch<T>& launch, const ModelSpec& model,
                             const Microbatch& batch, const SubLayerWeights<T>& weights,
                             const SubLayerTensors<T>& tensors) {
  const Widths widths(model);
  LinearBackwardWeight<T>(launch, OutShape(widths, batch.shape.tokens), tensors.dy,
                          tensors.attention, weights.outer);
  LinearBackwardWeight<T>(launch, QkvShape(widths, batch.shape.tokens), tensors.dinner,
                          tensors.norm, weights.inner);
}

#define BIRKHOFF_INSTANTIATE(T)                                                                \
  template void AttentionForward(const Launch<T>&, const ModelSpec&, const Microbatch&,        \
                                 const SubLayerWeights<T>&, const SubLayerTensors<T>&);        \
  template void AttentionBackwardInput(const Launch<T>&, const ModelSpec&, const Microbatch&,  \
                                       const SubLayerWeights<T>&, const SubLayerTensors<T>&);  \
  template void AttentionBackwardWeight(const Launch<T>&, const ModelSpec&, const Microbatch&, \
                                        const SubLayerWeights<T>&, const SubLayerTensors<T>&)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
