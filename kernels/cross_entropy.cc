#include "kernels/cross_entropy.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

template <typename Args>
absl::Status ValidateInputs(const char* op, const Args& args) {
  if (args.tokens < 0) {
    return RefuseArgument(op, absl::StrCat("tokens=", args.tokens), "tokens >= 0");
  }
  if (args.vocabulary <= 0) {
    return RefuseArgument(op, absl::StrCat("vocabulary=", args.vocabulary), "vocabulary > 0");
  }
  if (args.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(op, {{"logits", args.logits}, {"targets", args.targets}}));
  for (int64_t t = 0; t < args.tokens; ++t) {
    if (args.targets[t] >= args.vocabulary) {
      return RefuseArgument(op, absl::StrCat("targets[", t, "]=", args.targets[t]),
                            absl::StrCat("target < ", args.vocabulary).c_str());
    }
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
absl::Status Validate(const CrossEntropyForwardArgs<T>& args) {
  return ValidateInputs("cross entropy forward", args);
}

template <typename T>
absl::Status Validate(const CrossEntropyBackwardArgs<T>& args) {
  constexpr char kOp[] = "cross entropy backward";
  RETURN_IF_ERROR(ValidateInputs(kOp, args));
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"dlogits", args.dlogits}});
}

template absl::Status Validate(const CrossEntropyForwardArgs<float>&);
template absl::Status Validate(const CrossEntropyForwardArgs<double>&);
template absl::Status Validate(const CrossEntropyBackwardArgs<float>&);
template absl::Status Validate(const CrossEntropyBackwardArgs<double>&);

}  // namespace birkhoff
