// How each parameter starts: from (training.seed, name) and the model alone, never from the plan.
#pragma once

#include <cstdint>
#include <vector>

#include "core/spec/model.h"

namespace birkhoff {

// Row-major values of `parameter`.  `parameter` must come from ParametersOfUnit(model, ...).
std::vector<double> InitialValues(const ModelSpec& model, const ParameterSpec& parameter,
                                  uint64_t seed);

}  // namespace birkhoff
