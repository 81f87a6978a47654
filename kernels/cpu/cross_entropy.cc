// Softmax cross entropy on the CPU, a row at a time and less its largest: exponentials in T, once
// for loss and gradient, which may lie over the logits; sums in double.
#include "kernels/cross_entropy.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/team.h"

namespace birkhoff::cpu {
namespace {

constexpr int64_t kMostParts = 64;

// The largest of a row; NaN where the row holds one, so that it reaches the loss.
template <typename T>
T LargestOf(const T* row, int64_t count) {
  const T largest = Largest(row, count);
  Vec<T> poison = {};
  ForLanesOf<T>(count, [&](LanesAt<T> at) { poison += at.Of(row) * T(0); });
  const T sum = SumOfLanes(poison);
  return std::isnan(sum) && !std::isinf(largest) ? sum : largest;
}

// Sum of e^(row - largest), and these in `out` where it is not null: it may be the row.
template <typename T>
double SumOfExps(const T* row, T largest, int64_t count, T* out) {
  Doubles<T> sums = {};
  double rest = 0.0;
  ForLanesOf<T>(count, [&](LanesAt<T> at) {
    const Vec<T> exps = Exp(at.Of(row) - largest);
    if (out != nullptr) at.Put(exps, out);
    if (at.count == kLanes<T>) {
      sums += __builtin_convertvector(exps, Doubles<T>);
    } else {
      for (int k = 0; k < at.count; ++k) rest += double(exps[k]);
    }
  });
  for (int k = 0; k < kLanes<T>; ++k) rest += sums[k];
  return rest;
}

template <typename T>
absl::Status CheckTargets(const CrossEntropyArgs<T>& args) {
  for (int64_t t = 0; t < args.tokens; ++t) {
    if (args.targets[t] < args.vocabulary) continue;
    return RefuseArgument("cross entropy", absl::StrCat("targets[", t, "]=", args.targets[t]),
                          absl::StrCat("target < ", args.vocabulary).c_str());
  }
  return absl::OkStatus();
}

// The loss of one token, and softmax less the one-hot, by scale, in `out` where it is not null.
template <typename T>
double Row(const T* row, int64_t count, int32_t target, double scale, T* out) {
  const T largest = LargestOf(row, count), of_target = row[target];
  const double sum = SumOfExps(row, largest, count, out);
  if (out != nullptr) {
    const T factor = T(scale / sum);
    for (int64_t v = 0; v < count; ++v) out[v] *= factor;
    out[target] -= T(scale);
  }
  return std::log(sum) - double(of_target - largest);
}

template <typename T>
CrossEntropySums Rows(const CrossEntropyArgs<T>& args, Piece run) {
  CrossEntropySums sums;
  for (int64_t t = run.first; t < run.end; ++t) {
    T* out = args.dlogits == nullptr ? nullptr : args.dlogits + t * args.vocabulary;
    if (args.targets[t] < 0) {
      if (out != nullptr) std::fill_n(out, args.vocabulary, T(0));
      continue;
    }
    sums.loss +=
        Row(args.logits + t * args.vocabulary, args.vocabulary, args.targets[t], args.scale, out);
    sums.targets += 1.0;
  }
  return sums;
}

}  // namespace

template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckTargets(args));
  // Sums of at most kMostParts runs of tokens, added in their order.
  std::array<CrossEntropySums, kMostParts> parts;
  const int64_t length = NumPieces(args.tokens, kMostParts);
  const int64_t count = NumPieces(args.tokens, length);
  ShareOut(count, [&](int64_t i) {
    OnBestIsa<T>([&] { parts[size_t(i)] = Rows(args, Piece(i, length, args.tokens)); });
  });
  CrossEntropySums sums;
  for (int64_t i = 0; i < count; ++i) {
    sums.loss += parts[size_t(i)].loss;
    sums.targets += parts[size_t(i)].targets;
  }
  args.sums->loss += sums.loss;
  args.sums->targets += sums.targets;
  return absl::OkStatus();
}

template absl::Status CrossEntropy(const CrossEntropyArgs<float>&);
template absl::Status CrossEntropy(const CrossEntropyArgs<double>&);

}  // namespace birkhoff::cpu
