// Sizes and pointers alone: targets may stand on a GPU, so it takes a backend that reads them to
// refuse one.
#include "kernels/cross_entropy.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {

template <typename T>
absl::Status Validate(const CrossEntropyArgs<T>& args) {
  constexpr char kOp[] = "cross entropy";
  if (args.tokens < 0) {
    return RefuseArgument(kOp, absl::StrCat("tokens=", args.tokens), "tokens >= 0");
  }
  if (args.vocabulary <= 0) {
    return RefuseArgument(kOp, absl::StrCat("vocabulary=", args.vocabulary), "vocabulary > 0");
  }
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp,
                         {{"logits", args.logits}, {"targets", args.targets}, {"sums", args.sums}});
}

template absl::Status Validate(const CrossEntropyArgs<float>&);
template absl::Status Validate(const CrossEntropyArgs<double>&);
template absl::Status Validate(const CrossEntropyArgs<bf16>&);

}  // namespace birkhoff
