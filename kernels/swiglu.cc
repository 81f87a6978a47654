// Sizes first; where there are no tokens no pointer is needed.
#include "kernels/swiglu.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

absl::Status ValidateSizes(const char* op, int64_t tokens, int64_t features) {
  if (tokens < 0) return RefuseArgument(op, absl::StrCat("tokens=", tokens), "tokens >= 0");
  if (features > 0) return absl::OkStatus();
  return RefuseArgument(op, absl::StrCat("features=", features), "features > 0");
}

}  // namespace

template <typename T>
absl::Status Validate(const SwiGluForwardArgs<T>& args) {
  constexpr char kOp[] = "swiglu forward";
  RETURN_IF_ERROR(ValidateSizes(kOp, args.tokens, args.features));
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"gate_up", args.gate_up}, {"act", args.act}});
}

template <typename T>
absl::Status Validate(const SwiGluBackwardArgs<T>& args) {
  constexpr char kOp[] = "swiglu backward";
  RETURN_IF_ERROR(ValidateSizes(kOp, args.tokens, args.features));
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(
      kOp, {{"gate_up", args.gate_up}, {"dact", args.dact}, {"dgate_up", args.dgate_up}});
}

template absl::Status Validate(const SwiGluForwardArgs<float>&);
template absl::Status Validate(const SwiGluForwardArgs<double>&);
template absl::Status Validate(const SwiGluForwardArgs<bf16>&);
template absl::Status Validate(const SwiGluBackwardArgs<float>&);
template absl::Status Validate(const SwiGluBackwardArgs<double>&);
template absl::Status Validate(const SwiGluBackwardArgs<bf16>&);

}  // namespace birkhoff
