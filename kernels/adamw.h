// AdamW with decoupled weight decay (arXiv 1711.05101, alg. 2, bias-corrected), and the norm of
// gradients that clipping needs.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace birkhoff {

// g = clip_scale * gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
// w = w - lr (weight_decay w + (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps))
struct AdamWArgs {
  int64_t count = 0;
  float* weight = nullptr;           // [count]
  const float* gradient = nullptr;   // [count]
  float* first_moment = nullptr;     // [count]
  float* second_moment = nullptr;    // [count]
  double lr = 0.0;                   // >= 0
  double beta1 = 0.9, beta2 = 0.95;  // in [0, 1)
  double eps = 1e-15;                // > 0
  double weight_decay = 0.0;         // >= 0; 0 for norms, biases, alphas
  int64_t step = 1;                  // counted from 1: this update's number, skipped ones left out
  double clip_scale = 1.0;           // min(1, clip / norm)
  bool skip = false;                 // leave everything as it is
};

struct GradientNorm {      // added to (+=)
  double squared = 0.0;    // sum of squares of the finite elements, in double, in a fixed order
  int64_t non_finite = 0;  // elements that are infinite or NaN
};

// What every backend checks first; the errors below.
absl::Status Validate(const AdamWArgs& args);

// Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.
namespace cpu {
absl::Status AdamW(const AdamWArgs& args);
absl::Status AccumulateNorm(const float* gradient, int64_t count, GradientNorm& norm);
}  // namespace cpu

}  // namespace birkhoff
