#include "worker/transformer/weights.h"

#include <string>

namespace birkhoff {

template <typename T>
SubLayerWeights<T> FindSubLayerWeights(const ModelSpec& model, int unit,
                                       const WeightLookup<T>& lookup) {
  const std::string prefix = "sublayers." + std::to_string(unit - 1) + ".";
  const bool attention = KindOfUnit(model, unit) == UnitKind::kAttention;
  SubLayerWeights<T> weights;
  weights.norm = lookup(prefix + "norm.weight");
  weights.inner = lookup(prefix + (attention ? "attention.qkv.weight" : "ffn.gate_up.weight"));
  weights.outer = lookup(prefix + (attention ? "attention.out.weight" : "ffn.down.weight"));
  if (model.residual.kind == ResidualKind::kResidual) return weights;
  const bool hc = model.residual.kind == ResidualKind::kHc;
  weights.projection = lookup(prefix + (hc ? "hc.theta" : "mhc.phi"));
  weights.alpha = lookup(prefix + (hc ? "hc.alpha" : "mhc.alpha"));
  weights.bias = lookup(prefix + (hc ? "hc.bias" : "mhc.bias"));
  return weights;
}

template <typename T>
HeadWeights<T> FindHeadWeights(const ModelSpec& model, const WeightLookup<T>& lookup) {
  return {lookup("final_norm.weight"),
          lookup(model.tie_embeddings ? "embedding.weight" : "head.weight")};
}

template SubLayerWeights<float> FindSubLayerWeights(const ModelSpec&, int,
                                                    const WeightLookup<float>&);
template SubLayerWeights<double> FindSubLayerWeights(const ModelSpec&, int,
                                                     const WeightLookup<double>&);
template HeadWeights<float> FindHeadWeights(const ModelSpec&, const WeightLookup<float>&);
template HeadWeights<double> FindHeadWeights(const ModelSpec&, const WeightLookup<double>&);

}  // namespace birkhoff
