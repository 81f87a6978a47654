// The boundary operator that a ModelSpec asks for.
#pragma once

#include <cstdint>

#include "core/spec/model.h"
#include "kernels/boundary.h"

namespace birkhoff {

BoundaryShape BoundaryShapeOf(const ModelSpec& model, int64_t tokens);
StreamExpand ExpandOf(const ModelSpec& model);
StreamContract ContractOf(const ModelSpec& model);

}  // namespace birkhoff
