// The parameters of a stage by role.  T is float (training) or double (the reference).
#pragma once

#include <functional>
#include <string>

#include "core/spec/model.h"

namespace birkhoff {

// One parameter: its values and where its gradient is added.  Borrowed.
template <typename T>
struct Weight {
  const T* value = nullptr;
  T* gradient = nullptr;
};

// From a name of ParametersOfUnit; must know all parameters of the stage's units.
template <typename T>
using WeightLookup = std::function<Weight<T>(const std::string& name)>;

// Legend: C hidden size, F inner size, Hq and Hkv heads, D head size, n streams.
template <typename T>
struct SubLayerWeights {
  Weight<T> norm;        // [C]
  Weight<T> inner;       // qkv [(Hq + 2 Hkv) D, C], or gate_up [2 F, C]
  Weight<T> outer;       // out [C, Hq D], or down [C, F]
  Weight<T> projection;  // phi or theta; none for the plain residual, as the two below
  Weight<T> alpha;       // [3]
  Weight<T> bias;        // [2n + K_res]
};

template <typename T>
struct HeadWeights {
  Weight<T> norm;        // [C]
  Weight<T> vocabulary;  // [V, C]; the embedding itself where they are tied
};

template <typename T>
SubLayerWeights<T> FindSubLayerWeights(const ModelSpec& model, int unit,
                                       const WeightLookup<T>& lookup);
template <typename T>
HeadWeights<T> FindHeadWeights(const ModelSpec& model, const WeightLookup<T>& lookup);

}  // namespace birkhoff
