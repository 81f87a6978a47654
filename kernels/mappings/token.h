// What a mapping of one token is, written once for both processors.  A mapping is a type with
//
//   History(n, iterations)   numbers of scratch that Backward needs
//   Forward<N>(logits, iterations, matrix)
//                            logits [K_res] -> H_res, [N, N] row-major
//   Backward<N>(logits, dmatrix, iterations, history, dlogits)
//                            its vector-Jacobian product; dlogits [K_res] is assigned
//
// of T float or double.  No buffer lies over another.  What costs most has code of its own beside
// this: lanes of tokens on the CPU (kernels/cpu/mapping.cc), lanes of a warp on the GPU
// (kernels/cuda/device/mappings.cuh).
#pragma once

#include <cmath>

#include "kernels/host_device.h"

namespace birkhoff::mappings {

// One without scratch.
struct TokenMapping {
  static constexpr int History(int, int) { return 0; }
};

}  // namespace birkhoff::mappings
