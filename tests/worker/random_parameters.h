// Parameters of a model at a random point, where nothing vanishes: at the default initialisation
// several gradients are zero, and a check there shows nothing.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/spec/model.h"

namespace birkhoff {

template <typename T>
struct Parameters {
  std::map<std::string, std::vector<T>> values, gradients;

  void Add(const std::string& name, std::vector<T> initial) {
    gradients[name].assign(initial.size(), T(0));
    values[name] = std::move(initial);
  }
  void ClearGradients() {
    for (auto& [name, gradient] : gradients) gradient.assign(gradient.size(), T(0));
  }
};

inline bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// phi ~ N(0, 1 / nC), alpha ~ 1, biases N(0, 1), norm weights around 1, matrices N(0, 1 / fan-in).
inline double RandomValue(const ParameterSpec& parameter, Rng& rng) {
  const double normal = rng.Normal();
  if (EndsWith(parameter.name, "norm.weight")) return 1.0 + 0.2 * normal;
  if (EndsWith(parameter.name, ".alpha")) return 1.0 + 0.1 * normal;
  if (EndsWith(parameter.name, ".bias")) return normal;
  const bool phi = EndsWith(parameter.name, ".phi");
  return normal / std::sqrt(static_cast<double>(parameter.shape[phi ? 0 : 1]));
}

template <typename T>
Parameters<T> RandomParameters(const ModelSpec& model, uint64_t seed) {
  Parameters<T> parameters;
  for (int unit = 0; unit < NumUnits(model); ++unit) {
    for (const ParameterSpec& parameter : ParametersOfUnit(model, unit)) {
      Rng rng(seed, parameter.name);
      std::vector<T> values(parameter.NumElements());
      for (T& value : values) value = static_cast<T>(RandomValue(parameter, rng));
      parameters.Add(parameter.name, std::move(values));
    }
  }
  return parameters;
}

}  // namespace birkhoff
