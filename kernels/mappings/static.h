// static: the function of `sinkhorn`, on biases alone: no projection, no alpha, the same
// coefficients for every token.
// Source: static hyper-connections, arXiv 2409.19606 section 3.
#pragma once

#include "kernels/mappings/sinkhorn.h"

namespace birkhoff::mappings {

struct Static : Sinkhorn {};

}  // namespace birkhoff::mappings
