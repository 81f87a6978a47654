// The end of a step: the norm of the gradients, what follows from it for all ranks alike (clip or
// skip), and AdamW with decoupled weight decay (arXiv 1711.05101, alg. 2, bias-corrected).  Each op
// takes all parameters of a rank in one call; what changes from step to step stands in the
// backend's memory, so that a step needs no word of the host.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

// One parameter.  Spans themselves stand in the backend's memory too.
template <typename T>
struct ParameterSpan {
  using S = ScalarOf<T>;
  S* weight = nullptr;         // [count], master values
  T* copy = nullptr;           // [count], rounded for products; null: none
  S* gradient = nullptr;       // [count]
  S* first_moment = nullptr;   // [count]
  S* second_moment = nullptr;  // [count]
  int64_t count = 0;           // > 0
  int64_t begin = 0;           // elements of the spans before it: one launch finds its span
  double weight_decay = 0.0;   // >= 0; 0 for norms, biases, alphas
  int32_t counted = 1;         // 0: another rank counts it in the norm
  int32_t cleared = 1;         // 0: the next gradient is assigned, so AdamW leaves this one
};

template <typename T>
struct ParameterSpans {
  const ParameterSpan<T>* spans = nullptr;  // [num]
  int num = 0;
  int64_t count = 0;  // elements of all
};

// What every rank brings to a step's decision: the first numbers of its share.
struct GradientNorm {       // added to (+=)
  double squared = 0.0;     // sum of squares of the finite elements, in double, in a fixed order
  double non_finite = 0.0;  // elements that are infinite or NaN
};
struct StepShare {
  double loss = 0.0;  // CrossEntropySums
  double targets = 0.0;
  GradientNorm norm;
};

struct StepScalars {
  double lr = 0.0;          // >= 0; written by the host before the step, the rest by DecideStep
  double clip_scale = 1.0;  // min(1, clip_grad / norm)
  int64_t update = 0;       // this update's number, counted from 1; skipped steps are none
  int64_t skip = 0;         // 1: loss or gradients are not finite, the weights stay
};

template <typename T>
struct GradientNormArgs {
  ParameterSpans<T> parameters = {};
  GradientNorm* norm = nullptr;
  void* workspace = nullptr;  // as many bytes as the backend says
};

// Adds the shares of all ranks in ascending order.
struct DecideStepArgs {
  const double* shares = nullptr;  // [ranks, length], each begins with a StepShare
  int ranks = 1;
  int64_t length = 4;      // doubles, >= 4
  double clip_grad = 0.0;  // 0: none
  StepScalars* step = nullptr;
};

// g = clip_scale * gradient;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
// w = w - lr (weight_decay w + (m / (1 - beta1^update)) / (sqrt(v / (1 - beta2^update)) + eps))
// copy = w, rounded to nearest even.  With step->skip all of these stay; the gradient is set to 0
// either way.
template <typename T>
struct AdamWArgs {
  ParameterSpans<T> parameters = {};
  double beta1 = 0.9, beta2 = 0.95;  // in [0, 1)
  double eps = 1e-15;                // > 0
  const StepScalars* step = nullptr;
};

// What every backend checks first: numbers and pointers that the host knows; the errors below.
template <typename T>
absl::Status Validate(const GradientNormArgs<T>& args);
absl::Status Validate(const DecideStepArgs& args);
template <typename T>
absl::Status Validate(const AdamWArgs<T>& args);

// Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.  T: float, double.
namespace cpu {
template <typename T>
absl::Status AccumulateNorm(const GradientNormArgs<T>& args);
absl::Status DecideStep(const DecideStepArgs& args);
template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
