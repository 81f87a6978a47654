// identity: H_res = I, without logits.  The streams are read and written but never mixed.
// Source: identity hyper-connections, e.g. arXiv 2607.28611.
#pragma once

#include "kernels/mappings/token.h"

namespace birkhoff::mappings {

struct Identity : TokenMapping {
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Forward(const T*, int, T* matrix) {
    for (int k = 0; k < N * N; ++k) matrix[k] = k / N == k % N ? T(1) : T(0);
  }
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Backward(const T*, const T*, int, T*, T*) {}
};

}  // namespace birkhoff::mappings
