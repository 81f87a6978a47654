// sinkhorn: the projection onto doubly stochastic matrices, kernels/mapping.h; kernels/cpu/sinkhorn.cc
// and kernels/cuda/device/sinkhorn.cuh compute it.
// Source: mHC, arXiv 2512.24880 eq. 8 and 9.
#pragma once

#include "kernels/mappings/token.h"

namespace birkhoff::mappings {

struct Sinkhorn : TokenMapping {};

}  // namespace birkhoff::mappings
