// Causal grouped-query attention with rotary positions: one fused q, k, v product, the attention,
// one output product.
#include "kernels/attention.h"

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

AttentionShape ShapeOf(const ModelSpec& model, const Microbatch& batch) {
  return {.tokens = batch.tokens,
          .heads = model.num_attention_heads,
          .kv_heads = model.num_key_value_heads,
          .head_dim = HeadDim(model),
          .num_sequences = batch.num_sequences,
          .sequence_starts = batch.sequence_starts,
          .qkv_stride = Widths(model).qkv};
}

// Query and key heads lie side by side: one call turns them all.
template <typename T>
RopeArgs<T> RopeOf(const ModelSpec& model, const Microbatch& batch, T* qkv) {
  return {.tokens = batch.tokens,
          .heads = model.num_attention_heads + model.num_key_value_heads,
          .head_dim = HeadDim(model),
          .theta = model.rope_theta,
          .positions = batch.positions,
          .x = qkv,
          .stride = Widths(model).qkv};
}

}  // namespace

template <typename T>
void AttentionForward(const ModelSpec& model, const Microbatch& batch,
                      const SubLayerWeights<T>& weights, const SubLayerTensors<T>& tensors) {
  const Widths widths(model);
  T* qkv = tensors.inner;
  LinearForward(QkvShape(widths, batch.tokens), tensors.norm, weights.inner, qkv);
  Must(cpu::RopeForward(RopeOf(model, batch, qkv)));
  Must(cpu::AttentionForward<T>({.shape = ShapeOf(model, batch),
                                 .q = qkv,
                                 .k = qkv + widths.queries,
                                 .v = qkv + widths.queries + widths.keys,
                                 .out = tensors.attention,
                                 .lse = tensors.log_sum_exp,
                                 .workspace = tensors.workspace}));
  LinearForward<T>(OutShape(widths, batch.tokens), tensors.attention, weights.outer, tensors.y);
}

template <typename T>
void AttentionBackwardInput(const ModelSpec& model, const Microbatch& batch,
                            const SubLayerWeights<T>& weights, const SubLayerTensors<T>& tensors) {
  const Widths widths(model);
  const T* qkv = tensors.inner;
  T* dqkv = tensors.dinner;
  LinearBackwardInput(OutShape(widths, batch.tokens), tensors.dy, weights.outer, tensors.middle);
  Must(cpu::AttentionBackward<T>({.shape = ShapeOf(model, batch),
                                  .q = qkv,
                                  .k = qkv + widths.queries,
                                  .v = qkv + widths.queries + widths.keys,
                                  .lse = tensors.log_sum_exp,
                                  .dout = tensors.middle,
                                  .dq = dqkv,
                                  .dk = dqkv + widths.queries,
                                  .dv = dqkv + widths.queries + widths.keys,
                                  .workspace = tensors.workspace}));
  Must(cpu::RopeBackward(RopeOf(model, batch, dqkv)));
  LinearBackwardInput<T>(QkvShape(widths, batch.tokens), dqkv, weights.inner, tensors.dnorm);
}

template <typename T>
void AttentionBackwardWeight(const ModelSpec& model, const Microbatch& batch,
                             const SubLayerWeights<T>& weights, const SubLayerTensors<T>& tensors) {
  const Widths widths(model);
  LinearBackwardWeight<T>(OutShape(widths, batch.tokens), tensors.dy, tensors.attention,
                          weights.outer);
  LinearBackwardWeight<T>(QkvShape(widths, batch.tokens), tensors.dinner, tensors.norm,
                          weights.inner);
}

#define BIRKHOFF_INSTANTIATE(T)                                                                  \
  template void AttentionForward(const ModelSpec&, const Microbatch&, const SubLayerWeights<T>&, \
                                 const SubLayerTensors<T>&);                                     \
  template void AttentionBackwardInput(const ModelSpec&, const Microbatch&,                      \
                                       const SubLayerWeights<T>&, const SubLayerTensors<T>&);    \
  template void AttentionBackwardWeight(const ModelSpec&, const Microbatch&,                     \
                                        const SubLayerWeights<T>&, const SubLayerTensors<T>&)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
