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

}  // namespace birkhoff
