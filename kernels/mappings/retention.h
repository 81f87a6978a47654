// retention: H_res is diagonal, entry i is what stream i keeps of itself,
//
//   floor + (1 - floor) sigmoid(logit_i),   floor = 0.9.
//
// Its logits are biases alone: learned, the same for every token.
// Source: wide residual with learned retention, NVIDIA/Megatron-LM pull request 6716.
#pragma once

#include "core/base/mapping.h"
#include "kernels/mappings/token.h"

namespace birkhoff::mappings {

struct Retention : TokenMapping {
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Forward(const T* logits, int, T* matrix) {
    for (int k = 0; k < N * N; ++k) matrix[k] = T(0);
    for (int i = 0; i < N; ++i) {
      matrix[i * N + i] = T(kRetentionFloor) + T(1.0 - kRetentionFloor) * Share(logits[i]);
    }
  }
  template <int N, typename T>
  BIRKHOFF_HOST_DEVICE static void Backward(const T* logits, const T* dmatrix, int, T*,
                                            T* dlogits) {
    for (int i = 0; i < N; ++i) {
      const T share = Share(logits[i]);
      dlogits[i] = dmatrix[i * N + i] * T(1.0 - kRetentionFloor) * share * (T(1) - share);
    }
  }

 private:
  template <typename T>
  BIRKHOFF_HOST_DEVICE static T Share(T logit) {
    return T(1) / (T(1) + std::exp(-logit));
  }
};

}  // namespace birkhoff::mappings
