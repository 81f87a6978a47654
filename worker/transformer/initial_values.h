// How parameters start: seeded by (training.seed, name) alone, so that every plan and device begins
// with the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "core/spec/model.h"

namespace birkhoff {

// Forms the values of one parameter in order, as many at a time as `chunk` holds, and gives each
// run to `take`, on the caller's thread, which must be done with it when it returns.  Large runs are
// formed by as many threads as the machine has cores; they change no bit.
void FormInitialValues(const ModelSpec& model, const ParameterSpec& parameter, uint64_t seed,
                       std::span<float> chunk,
                       const std::function<void(std::span<const float> values)>& take);

}  // namespace birkhoff
