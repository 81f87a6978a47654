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

// q, k, v = norm W_qkv^T; q and k are turned in place.
template <typename T>
void ProjectIn(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  LinearForward(launch, Widths(model).Qkv(call.tokens()), tensors.norm, weights.inner,
                tensors.inner);
  Must(launch.backend.RopeForward(launch.stream, RopeOf(call, tensors.inner)));
}

// Softmax(q k^T) v by head, over the batch alone.
template <typename T>
void AttendToBatch(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  const Widths widths(model);
  const T* qkv = tensors.inner;
  Must(
      launch.backend.AttentionForward(launch.stream, {.shape = AttentionShapeOf(model, batch.shape),
                                                      .q = qkv,
                                                      .k = qkv + widths.queries,
                                                      .v = qkv + widths.queries + widths.keys,
                                                      .out = tensors.attention,
                                                      .lse = tensors.log_sum_exp,
                                                      .workspace = tensors.workspace}));
}

// The same over all rows of the cache, which hold the batch by now.
template <typename T>
void AttendToCache(const SubLayerCall<T>& call, const KeyValueCache<T>& cache, int block) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  const Widths widths(model);
  const T* rows = cache.Row(block, 0).address();
  Must(launch.backend.CachedAttention(launch.stream, {.tokens = call.tokens(),
                                                      .past = cache.length(),
                                                      .heads = model.num_attention_heads,
                                                      .kv_heads = model.num_key_value_heads,
                                                      .head_dim = HeadDim(model),
                                                      .q = tensors.inner,
                                                      .q_stride = widths.Qkv(0).outputs,
                                                      .k = rows,
                                                      .v = rows + widths.keys,
                                                      .kv_stride = cache.width(),
                                                      .out = tensors.attention,
                                                      .workspace = tensors.workspace}));
}

// y = what was attended to W_out^T.
template <typename T>
void ProjectOut(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  LinearForward<T>(launch, Widths(model).Out(call.tokens()), tensors.attention, weights.outer,
                   tensors.y);
}

}  // namespace

template <typename T>
void AttentionForward(const SubLayerCall<T>& call) {
  ProjectIn(call);
  AttendToBatch(call);
  ProjectOut(call);
}

template <typename T>
void AttentionForward(const SubLayerCall<T>& call, const KeyValueCache<T>& cache, int block) {
  const int64_t past = cache.length(), width = cache.width();
  const LinearShape qkv = Widths(call.model).Qkv(call.tokens());
  ProjectIn(call);
  // Keys and values stand behind the queries, side by side as in a row of the cache.
  const T* keys = call.tensors.inner + qkv.outputs - width;
  for (int64_t t = 0; t < call.tokens(); ++t) {
    Copy(call.launch.stream, cache.Row(block, past + t), DevicePtr<const T>(keys + t * qkv.outputs),
         width);
  }
  past == 0 ? AttendToBatch(call) : AttendToCache(call, cache, block);
  ProjectOut(call);
}

template <typename T>
void AttentionBackwardInput(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
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
                                         .workspace = tensors.workspace}));
  // Turned back: dq and dk before the rotation, and from them the gradient of the norm.
  Must(launch.backend.RopeBackward(launch.stream, RopeOf(call, dqkv)));
  LinearBackwardInput<T>(launch, widths.Qkv(call.tokens()), dqkv, weights.inner, tensors.dnorm);
}

template <typename T>
void AttentionBackwardWeight(const SubLayerCall<T>& call) {
  const auto& [launch, model, batch, weights, tensors, at_once, add] = call;
  const Widths widths(model);
  LinearBackwardWeight<T>(launch, widths.Out(call.tokens()), tensors.dy, tensors.attention,
                          weights.outer, add);
  LinearBackwardWeight<T>(launch, widths.Qkv(call.tokens()), tensors.dinner, tensors.norm,
                          weights.inner, add);
}

#define BIRKHOFF_INSTANTIATE(T)                                                              \
  template void AttentionForward(const SubLayerCall<T>& call);                               \
  template void AttentionForward(const SubLayerCall<T>& call, const KeyValueCache<T>& cache, \
                                 int block);                                                 \
  template void AttentionBackwardInput(const SubLayerCall<T>& call);                         \
  template void AttentionBackwardWeight(const SubLayerCall<T>& call)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
