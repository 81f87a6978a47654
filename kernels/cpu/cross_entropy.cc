#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"

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

}  // namespace

template <typename T>
absl::Status CrossEntropyForward(const CrossEntropyForwardArgs<T>& args, CrossEntropySums& sums) {
  RETURN_IF_ERROR(Validate(args));
  for (int64_t t = 0; t < args.tokens; ++t) {
    if (args.targets[t] < 0) continue;
    const T* row = args.logits + t * args.vocabulary;
    const T largest = LargestOf(row, args.vocabulary);
    double sum = 0.0;
    for (int64_t v = 0; v < args.vocabulary; ++v) sum += double(std::exp(row[v] - largest));
    sums.loss += std::log(sum) - double(row[args.targets[t]] - largest);
    ++sums.targets;
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status CrossEntropyBackward(const CrossEntropyBackwardArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int64_t t = 0; t < args.tokens; ++t) {
    const T* row = args.logits + t * args.vocabulary;
    T* out = args.dlogits + t * args.vocabulary;
    if (args.targets[t] < 0) {
      std::fill_n(out, args.vocabulary, T(0));
      continue;
    }
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
  return absl::OkStatus();
}

template absl::Status CrossEntropyForward(const CrossEntropyForwardArgs<float>&, CrossEntropySums&);
template absl::Status CrossEntropyForward(const CrossEntropyForwardArgs<double>&,
                                          CrossEntropySums&);
template absl::Status CrossEntropyBackward(const CrossEntropyBackwardArgs<float>&);
template absl::Status CrossEntropyBackward(const CrossEntropyBackwardArgs<double>&);

}  // namespace birkhoff::cpu
