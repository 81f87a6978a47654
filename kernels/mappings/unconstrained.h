// unconstrained: H_res is its n^2 logits, row-major; nothing bounds a product of them.
// Source: hyper-connections, arXiv 2409.19606, whose own gates are the kind hc.
#pragma once

#include "kernels/mappings/token.h"

namespace birkhoff::mappings {

struct Unconstrained : TokenMapping {
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Forward(const T* logits, int, T* matrix) {
    for (int k = 0; k < N * N; ++k) matrix[k] = logits[k];
  }
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Backward(const T*, const T* dmatrix, int, T*, T* dlogits) {
    for (int k = 0; k < N * N; ++k) dlogits[k] = dmatrix[k];
  }
};

}  // namespace birkhoff::mappings
