// Causal grouped-query attention with rotary positions: one fused q, k, v product, the attention,
// one output product.
#include "kernels/attention.h"

#include "worker/transformer/connection.h"
#include "worker/transformer/linear.h"
#include "worker/transformer/sublayer.h"

namespace birkhoff {
namespace {

// Of the rows that the products read and write.
struct Widths {
  explicit Widths(const ModelSpec& model)
      : hidden(model.hidden_size),
        queries(int64_t{model.num_attention_heads} * HeadDim(model)),
        keys(int64_t{model.num_key_value_heads} * HeadDim(model)) {}
  LinearShape Qkv(int64_t tokens) const { return {tokens, hidden, queries + 2 * keys}; }
  LinearShape Out(int64_t tokens) const { return {tokens, queries, hidden}; }
  int64_t hidden, queries, keys;
};

// Query and key heads lie side by side: one kernel turns them all.
template <typename T>
RopeArgs<T> RopeOf(const SubLayerCall<T>& call, T* qkv) {
  const ModelSpec& model = call.model;
  return {.tokens = call.tokens(),
          .heads = model.num_attention_heads + model.num_key_value_heads,
          .head_dim = HeadDim(model),
          .theta = model.rope_theta,
          .positions = call.batch.positions,
          .x = qkv,
          .stride = Widths(model).Qkv(call.tokens()).outputs};
}

}  // namespace

template <typename T>
void AttentionForward(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors] = call;
  const Widths widths(model);
  T* qkv = tensors.inner;
  // q, k, v = norm W_qkv^T; q and k are turned in place.
  LinearForward(launch, widths.Qkv(call.tokens()), tensors.norm, weights.inner, qkv);
  Must(launch.backend.RopeForward(launch.stream, RopeOf(call, qkv)));
  // Softmax(q k^T) v by head, then y = that W_out^T.
  Must(
      launch.backend.AttentionForward(launch.stream, {.shape = AttentionShapeOf(model, batch.shape),
                                                      .q = qkv,
                                                      .k = qkv + widths.queries,
                                                      .v = qkv + widths.queries + widths.keys,
                                                      .out = tensors.attention,
                                                      .lse = tensors.log_sum_exp,
                                                      .workspace = launch.workspace}));
  LinearForward<T>(launch, widths.Out(call.tokens()), tensors.attention, weights.outer, tensors.y);
}

template <typename T>
void AttentionBackwardInput(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors] = call;
  const Widths widths(model);
  const T* qkv = tensors.inner;
  T* dqkv = tensors.dinner;
  // dy -> gradient of the attention's output -> dq, dk, dv.
  LinearBackwardInput(launch, widths.Out(call.tokens()), tensors.dy, weights.outer, tensors.middle);
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
  // Turned back: dq and dk before the rotation, and from them the gradient of the norm.
  Must(launch.backend.RopeBackward(launch.stream, RopeOf(call, dqkv)));
  LinearBackwardInput<T>(launch, widths.Qkv(call.tokens()), dqkv, weights.inner, tensors.dnorm);
}

template <typename T>
void AttentionBackwardWeight(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors] = call;
  const Widths widths(model);
  LinearBackwardWeight<T>(launch, widths.Out(call.tokens()), tensors.dy, tensors.attention,
                          weights.outer);
  LinearBackwardWeight<T>(launch, widths.Qkv(call.tokens()), tensors.dinner, tensors.norm,
                          weights.inner);
}

#define BIRKHOFF_INSTANTIATE(T)                                      \
  template void AttentionForward(const SubLayerCall<T>& call);       \
  template void AttentionBackwardInput(const SubLayerCall<T>& call); \
  template void AttentionBackwardWeight(const SubLayerCall<T>& call)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
