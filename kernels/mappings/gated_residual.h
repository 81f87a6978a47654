// gated: H_res = I; H_pre = sigmoid(a_pre p + b_pre) reads the streams, H_post = b_post writes to
// them, n learned numbers that no token changes.
// Source: gated residual of Qwen's models, NVIDIA/Megatron-LM pull request 7393, whose read gate is
// of low rank; ours is of full rank, phi's n columns.
#pragma once

#include "kernels/mappings/identity.h"

namespace birkhoff::mappings {

struct GatedResidual : Identity {};

}  // namespace birkhoff::mappings
