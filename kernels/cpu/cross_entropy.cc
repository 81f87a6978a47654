// Softmax cross entropy on the CPU, a row at a time and less its largest: exponentials in T, sums
// in double.  All losses are added before a gradient is formed, which may lie over the logits.
#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff::cpu {
namespace {

// The largest of a row; NaN where the row holds one, so that it reaches the loss.
template <typename T>
T LargestOf(const T* row, int64_t count) {
  T largest = row[0], poison = 0;
  for (int64_t v = 0; v < count; ++v) {
    largest = row[v] > largest ? row[v] : largest;
    poison += row[v] * T(0);
  }
  return std::isnan(poison) && !std::isinf(largest) ? poison : largest;
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

template <typename T>
void AddLoss(const CrossEntropyArgs<T>& args) {
  CrossEntropySums sums;
  for (int64_t t = 0; t < args.tokens; ++t) {
    if (args.targets[t] < 0) continue;
    const T* row = args.logits + t * args.vocabulary;
    const T largest = LargestOf(row, args.vocabulary);
    double sum = 0.0;
    for (int64_t v = 0; v < args.vocabulary; ++v) sum += double(std::exp(row[v] - largest));
    sums.loss += std::log(sum) - double(row[args.targets[t]] - largest);
    sums.targets += 1.0;
  }
  args.sums->loss += sums.loss;
  args.sums->targets += sums.targets;
}

template <typename T>
void FormGradient(const CrossEntropyArgs<T>& args) {
  for (int64_t t = 0; t < args.tokens; ++t) {
    const T* row = args.logits + t * args.vocabulary;
    T* out = args.dlogits + t * args.vocabulary;
    if (args.targets[t] < 0) {
      std::fill_n(out, args.vocabulary, T(0));
      continue;
    }
    // softmax, unnormalised, in the place of the gradient; then by scale / sum, less the one-hot.
    const T largest = LargestOf(row, args.vocabulary);
    double sum = 0.0;
    for (int64_t v = 0; v < args.vocabulary; ++v) {
      out[v] = std::exp(row[v] - largest);
      sum += double(out[v]);
    }
    const T factor = T(args.scale / sum);
    for (int64_t v = 0; v < args.vocabulary; ++v) out[v] *= factor;
    out[args.targets[t]] -= T(args.scale);
  }
}

}  // namespace

template <typename T>
absl::Status CrossEntropy(const CrossEntropyArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  if (args.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(CheckTargets(args));
  AddLoss(args);
  if (args.dlogits != nullptr) FormGradient(args);
  return absl::OkStatus();
}

template absl::Status CrossEntropy(const CrossEntropyArgs<float>&);
template absl::Status CrossEntropy(const CrossEntropyArgs<double>&);

}  // namespace birkhoff::cpu
