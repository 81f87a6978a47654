#include "kernels/adamw.h"

#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {

absl::Status AdamW(const AdamWArgs& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.skip) return absl::OkStatus();
  // Step size and bias corrections in double, once; the loop is float.
  const double correction1 = 1.0 - std::pow(args.beta1, double(args.step));
  const double correction2 = 1.0 - std::pow(args.beta2, double(args.step));
  const float scale = float(args.clip_scale), eps = float(args.eps);
  const float beta1 = float(args.beta1), rest1 = float(1.0 - args.beta1);
  const float beta2 = float(args.beta2), rest2 = float(1.0 - args.beta2);
  const float rate = float(args.lr / correction1), root = float(1.0 / std::sqrt(correction2));
  const float decay = float(args.lr * args.weight_decay);
  BIRKHOFF_INDEPENDENT
  for (int64_t i = 0; i < args.count; ++i) {
    const float g = scale * args.gradient[i];
    const float m = beta1 * args.first_moment[i] + rest1 * g;
    const float v = beta2 * args.second_moment[i] + rest2 * (g * g);
    args.first_moment[i] = m;
    args.second_moment[i] = v;
    const float step = rate * m / (std::sqrt(v) * root + eps);
    args.weight[i] -= decay * args.weight[i] + step;
  }
  return absl::OkStatus();
}

absl::Status AccumulateNorm(const float* gradient, int64_t count, GradientNorm& norm) {
  if (count < 0) return RefuseArgument("norm", absl::StrCat("count=", count), "count >= 0");
  if (count > 0) RETURN_IF_ERROR(RequirePointers("norm", {{"gradient", gradient}}));
  // Four running sums: the order is fixed and the additions do not wait for each other.
  double sums[4] = {};
  int64_t finite = 0;
  for (int64_t i = 0; i < count; ++i) {
    const bool is_finite = std::isfinite(gradient[i]);
    const double value = is_finite ? double(gradient[i]) : 0.0;
    sums[i & 3] += value * value;
    finite += is_finite ? 1 : 0;
  }
  norm.squared += (sums[0] + sums[1]) + (sums[2] + sums[3]);
  norm.non_finite += count - finite;
  return absl::OkStatus();
}

}  // namespace birkhoff::cpu
