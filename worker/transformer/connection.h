// The kernel arguments that a ModelSpec asks for.
#pragma once

#include <cstdint>

#include "core/spec/model.h"
#include "kernels/attention.h"
#include "kernels/boundary.h"
#include "worker/microbatch.h"
#include "worker/transformer/weights.h"

namespace birkhoff {

BoundaryShape BoundaryShapeOf(const ModelSpec& model, int64_t tokens);
StreamExpand ExpandOf(const ModelSpec& model);
StreamContract ContractOf(const ModelSpec& model);

// Of the fused projection's rows: q heads, k heads, v heads.
AttentionShape AttentionShapeOf(const ModelSpec& model, const MicrobatchShape& batch);

template <typename T>
BoundaryParameters<T> ParametersOf(const SubLayerWeights<T>& weights) {
  return {weights.projection.value.address(), weights.alpha.value.address(),
          weights.bias.value.address(), weights.norm.value.address()};
}
template <typename T>
BoundaryGradients<T> GradientsOf(const SubLayerWeights<T>& weights) {
  return {weights.projection.gradient.address(), weights.alpha.gradient.address(),
          weights.bias.gradient.address(), weights.norm.gradient.address()};
}

// What is not learned gets no gradient: with a gate of 0 it then stays what it is.  Projections need
// nothing, since theirs is a multiple of the gate.
template <typename T>
void FreezeUnlearned(Stream& stream, const ModelSpec& model, const SubLayerWeights<T>& weights) {
  using S = ScalarOf<T>;
  const auto clear = [&stream](DevicePtr<S> at, int64_t count) {
    stream.Fill(at.template As<std::byte>(), std::byte{0}, count * int64_t{sizeof(S)});
  };
  const int64_t n = NumStreams(model);
  const bool gated = NumProjectionColumns(model) > 0;
  const auto freeze = [&](int gate, int64_t first_bias, int64_t num_biases) {
    if (gated) clear(weights.alpha.gradient + gate, 1);
    clear(weights.bias.gradient + first_bias, num_biases);
  };
  if (!model.residual.learn_pre) freeze(0, 0, n);
  if (!model.residual.learn_post) freeze(1, n, n);
  if (!model.residual.learn_res) freeze(2, 2 * n, NumResidualLogits(model));
}

}  // namespace birkhoff
