// The end of a step on the CPU, one span after the other: constants and the norm in double, the
// update in T.
#include "kernels/adamw.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {
namespace {

// A step's constants in double, once; the loop is in T.
template <typename T>
struct Rates {
  Rates(const AdamWArgs<T>& args, double weight_decay)
      : scale(T(args.step->clip_scale)),
        eps(T(args.eps)),
        beta1(T(args.beta1)),
        rest1(T(1.0 - args.beta1)),
        beta2(T(args.beta2)),
        rest2(T(1.0 - args.beta2)),
        rate(T(args.step->lr / (1.0 - std::pow(args.beta1, double(args.step->update))))),
        root(T(1.0 / std::sqrt(1.0 - std::pow(args.beta2, double(args.step->update))))),
        decay(T(args.step->lr * weight_decay)) {}
  T scale, eps, beta1, rest1, beta2, rest2, rate, root, decay;
};

template <typename T>
void Update(const ParameterSpan<T>& span, const Rates<T>& r) {
  BIRKHOFF_INDEPENDENT
  for (int64_t i = 0; i < span.count; ++i) {
    const T g = r.scale * span.gradient[i];
    const T m = r.beta1 * span.first_moment[i] + r.rest1 * g;
    const T v = r.beta2 * span.second_moment[i] + r.rest2 * (g * g);
    span.first_moment[i] = m;
    span.second_moment[i] = v;
    const T step = r.rate * m / (std::sqrt(v) * r.root + r.eps);
    span.weight[i] -= r.decay * span.weight[i] + step;
  }
}

// Four running sums: the order is fixed and the additions do not wait for each other.
template <typename T>
void AddNorm(const T* gradient, int64_t count, GradientNorm& norm) {
  double sums[4] = {};
  int64_t finite = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool is_finite = std::isfinite(gradient[i]);
    const double value = is_finite ? double(gradient[i]) : 0.0;
    sums[i & 3] += value * value;
    finite += is_finite ? 1 : 0;
  }
  norm.squared += (sums[0] + sums[1]) + (sums[2] + sums[3]);
  norm.non_finite += double(count - finite);
}

}  // namespace

template <typename T>
absl::Status AccumulateNorm(const GradientNormArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int i = 0; i < args.parameters.num; ++i) {
    const ParameterSpan<T>& span = args.parameters.spans[i];
    if (span.counted != 0) AddNorm(span.gradient, span.count, *args.norm);
  }
  return absl::OkStatus();
}

absl::Status DecideStep(const DecideStepArgs& args) {
  RETURN_IF_ERROR(Validate(args));
  // The shares of all ranks, in ascending order.
  StepShare sum;
  for (int r = 0; r < args.ranks; ++r) {
    const double* share = args.shares + r * args.length;
    sum.loss += share[0];
    sum.norm.squared += share[2];
    sum.norm.non_finite += share[3];
  }
  // What follows for all of them alike: to skip, or to count an update and clip.
  const double norm = std::sqrt(sum.norm.squared);
  const bool finite = sum.norm.non_finite == 0.0 && std::isfinite(sum.loss) && std::isfinite(norm);
  args.step->skip = finite ? 0 : 1;
  args.step->update += finite ? 1 : 0;
  args.step->clip_scale =
      args.clip_grad > 0.0 && norm > args.clip_grad ? args.clip_grad / norm : 1.0;
  return absl::OkStatus();
}

template <typename T>
absl::Status AdamW(const AdamWArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int i = 0; i < args.parameters.num; ++i) {
    const ParameterSpan<T>& span = args.parameters.spans[i];
    if (args.step->skip == 0) Update(span, Rates<T>(args, span.weight_decay));
    std::fill_n(span.gradient, span.count, T(0));
  }
  return absl::OkStatus();
}

template absl::Status AccumulateNorm(const GradientNormArgs<float>&);
template absl::Status AccumulateNorm(const GradientNormArgs<double>&);
template absl::Status AdamW(const AdamWArgs<float>&);
template absl::Status AdamW(const AdamWArgs<double>&);

}  // namespace birkhoff::cpu
