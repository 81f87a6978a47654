// The parameters of a stage by role.  T is the type of activations (kernels/types.h).
#pragma once

#include <functional>
#include <string>

#include "core/spec/model.h"
#include "kernels/device.h"
#include "kernels/types.h"

namespace birkhoff {

// One parameter: its values, and where its gradient is added.  Borrowed.
template <typename T>
struct Weight {
  DevicePtr<const T> value;
  DevicePtr<ScalarOf<T>> gradient;
};

// From a name of ParametersOfUnit; must know all parameters of the stage's units.
template <typename T>
struct WeightLookup {
  // An operand of products, or rows of the embedding.
  std::function<Weight<T>(const std::string& name)> product;
  // Anything else.
  std::function<Weight<ScalarOf<T>>(const std::string& name)> scalar;
};

// Legend: C hidden size, F inner size, Hq and Hkv heads, D head size, n streams.
template <typename T>
struct SubLayerWeights {
  using S = ScalarOf<T>;
  Weight<S> norm;        // [C]
  Weight<T> inner;       // qkv [(Hq + 2 Hkv) D, C], or gate_up [2 F, C]
  Weight<T> outer;       // out [C, Hq D], or down [C, F]
  Weight<S> projection;  // phi or theta; none for the plain residual, as the two below
  Weight<S> alpha;       // [3]
  Weight<S> bias;        // [2n + K_res]
};

template <typename T>
struct HeadWeights {
  Weight<ScalarOf<T>> norm;  // [C]
  Weight<T> vocabulary;      // [V, C]; the embedding itself where they are tied
};

template <typename T>
SubLayerWeights<T> FindSubLayerWeights(const ModelSpec& model, int unit,
                                       const WeightLookup<T>& lookup);
template <typename T>
HeadWeights<T> FindHeadWeights(const ModelSpec& model, const WeightLookup<T>& lookup);

}  // namespace birkhoff
