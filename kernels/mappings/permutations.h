// permutations: H_res = sum_k softmax(logits)_k P_k over the n! permutation matrices in
// lexicographic order, P_k[i][perm_k(i)] = 1.  Doubly stochastic to rounding, without iterations.
// kernels/cpu/mapping.cc and kernels/cuda/device/mappings.cuh compute it.
// Source: mHC-lite, arXiv 2601.05732.
#pragma once

#include "kernels/mappings/token.h"

namespace birkhoff::mappings {

struct Permutations : TokenMapping {};

}  // namespace birkhoff::mappings
