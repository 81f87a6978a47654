// The names of ParametersOfUnit, put together from unit and role.
#include "worker/transformer/weights.h"

#include <string>

namespace birkhoff {

template <typename T>
SubLayerWeights<T> FindSubLayerWeights(const ModelSpec& model, int unit,
                                       const WeightLookup<T>& lookup) {
  const std::string prefix = "sublayers." + std::to_string(unit - 1) + ".";
  const bool attention = KindOfUnit(model, unit) == UnitKind::kAttention;
  SubLayerWeights<T> weights;
  weights.norm = lookup.scalar(prefix + "norm.weight");
  weights.inner =
      lookup.product(prefix + (attention ? "attention.qkv.weight" : "ffn.gate_up.weight"));
  weights.outer = lookup.product(prefix + (attention ? "attention.out.weight" : "ffn.down.weight"));
  if (model.residual.kind == ResidualKind::kResidual) return weights;
  const bool hc = model.residual.kind == ResidualKind::kHc;
  if (NumProjectionColumns(model) > 0) {
    weights.projection = lookup.scalar(prefix + (hc ? "hc.theta" : "mhc.phi"));
    weights.alpha = lookup.scalar(prefix + (hc ? "hc.alpha" : "mhc.alpha"));
  }
  weights.bias = lookup.scalar(prefix + (hc ? "hc.bias" : "mhc.bias"));
  return weights;
}

template <typename T>
HeadWeights<T> FindHeadWeights(const ModelSpec& model, const WeightLookup<T>& lookup) {
  return {lookup.scalar("final_norm.weight"),
          lookup.product(model.tie_embeddings ? "embedding.weight" : "head.weight")};
}

#define BIRKHOFF_INSTANTIATE(T)                                                                   \
  template SubLayerWeights<T> FindSubLayerWeights(const ModelSpec&, int, const WeightLookup<T>&); \
  template HeadWeights<T> FindHeadWeights(const ModelSpec&, const WeightLookup<T>&)
BIRKHOFF_INSTANTIATE(float);
BIRKHOFF_INSTANTIATE(double);
BIRKHOFF_INSTANTIATE(bf16);
#undef BIRKHOFF_INSTANTIATE

}  // namespace birkhoff
