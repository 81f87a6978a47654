// The end of a step on the CPU, one span after the other: constants and the norm in double, the
// update in T.
#include "kernels/adamw.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/team.h"

namespace birkhoff::cpu {
namespace {

constexpr int64_t kElementsOfTask = 1 << 15;
constexpr int64_t kMostParts = 64;

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

// The gradient is zeroed while it is at hand, where that is wanted.
template <typename T>
void Update(const ParameterSpan<T>& span, Piece part, const Rates<T>& r) {
  BIRKHOFF_INDEPENDENT
  for (int64_t i = part.first; i < part.end; ++i) {
    const T g = r.scale * span.gradient[i];
    const T m = r.beta1 * span.first_moment[i] + r.rest1 * g;
    const T v = r.beta2 * span.second_moment[i] + r.rest2 * (g * g);
    span.first_moment[i] = m;
    span.second_moment[i] = v;
    const T step = r.rate * m / (std::sqrt(v) * r.root + r.eps);
    span.weight[i] -= r.decay * span.weight[i] + step;
    if (span.cleared != 0) span.gradient[i] = T(0);
  }
}

// Running sums in double by lane: the order is fixed and the additions do not wait for each other.
template <typename T>
void AddNorm(const T* gradient, int64_t count, GradientNorm& norm) {
  Doubles<T> squares = {}, finite = {};
  ForLanesOf<T>(count, [&](LanesAt<T> at) {
    const Vec<T> g = at.Of(gradient);
    const auto is_finite = g - g == 0;  // neither infinite nor NaN
    const Doubles<T> value = __builtin_convertvector(is_finite ? g : Vec<T>{}, Doubles<T>);
    squares += value * value;
    finite -= __builtin_convertvector(is_finite, Doubles<T>);  // true is -1
  });
  double sum = 0.0, counted = 0.0;
  for (int k = 0; k < kLanes<T>; ++k) {
    sum += squares[k];
    counted += finite[k];
  }
  const int64_t beyond = (kLanes<T> - count % kLanes<T>) % kLanes<T>;  // lanes without an element
  norm.squared += sum;
  norm.non_finite += double(count + beyond) - counted;
}

}  // namespace

template <typename T>
absl::Status AccumulateNorm(const GradientNormArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int i = 0; i < args.parameters.num; ++i) {
    const ParameterSpan<T>& span = args.parameters.spans[i];
    if (span.counted == 0) continue;
    // Parts by the span's size alone, added in their order.
    std::array<GradientNorm, kMostParts> parts = {};
    const int64_t length = std::max(kElementsOfTask, NumPieces(span.count, kMostParts));
    const int64_t count = NumPieces(span.count, length);
    ShareOut(count, [&](int64_t index) {
      const Piece part(index, length, span.count);
      OnBestIsa<T>([&] { AddNorm(span.gradient + part.first, part.size(), parts[size_t(index)]); });
    });
    for (int64_t k = 0; k < count; ++k) {
      args.norm->squared += parts[size_t(k)].squared;
      args.norm->non_finite += parts[size_t(k)].non_finite;
    }
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
    if (args.step->skip != 0) {
      if (span.cleared != 0) std::fill_n(span.gradient, span.count, T(0));
      continue;
    }
    const Rates<T> rates(args, span.weight_decay);
    ShareOut(NumPieces(span.count, kElementsOfTask), [&](int64_t index) {
      OnBestIsa<T>([&] { Update(span, Piece(index, kElementsOfTask, span.count), rates); });
    });
  }
  return absl::OkStatus();
}

template absl::Status AccumulateNorm(const GradientNormArgs<float>&);
template absl::Status AccumulateNorm(const GradientNormArgs<double>&);
template absl::Status AdamW(const AdamWArgs<float>&);
template absl::Status AdamW(const AdamWArgs<double>&);

}  // namespace birkhoff::cpu
