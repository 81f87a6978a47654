// What the host sees of a step's end: counts, ranges and null pointers.  The spans themselves stand
// in the backend's memory and are not looked at.
#include "kernels/adamw.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

constexpr int64_t kShareHead = sizeof(StepShare) / sizeof(double);

absl::Status RequireRange(const char* name, double value, bool inside, const char* needed) {
  if (inside) return absl::OkStatus();
  return RefuseArgument("adamw", absl::StrCat(name, "=", value), needed);
}

template <typename T>
absl::Status ValidateSpans(const char* op, const ParameterSpans<T>& parameters) {
  if (parameters.num < 0 || parameters.count < parameters.num) {
    return RefuseArgument(op, absl::StrCat("spans=", parameters.num, " count=", parameters.count),
                          "spans of at least one element");
  }
  if (parameters.num == 0) return absl::OkStatus();
  return RequirePointers(op, {{"spans", parameters.spans}});
}

}  // namespace

template <typename T>
absl::Status Validate(const GradientNormArgs<T>& args) {
  RETURN_IF_ERROR(ValidateSpans("norm", args.parameters));
  return RequirePointers("norm", {{"norm", args.norm}});
}

absl::Status Validate(const DecideStepArgs& args) {
  constexpr char kOp[] = "decide step";
  if (args.ranks < 1) return RefuseArgument(kOp, absl::StrCat("ranks=", args.ranks), "ranks >= 1");
  if (args.length < kShareHead) {
    return RefuseArgument(kOp, absl::StrCat("length=", args.length),
                          absl::StrCat("at least ", kShareHead).c_str());
  }
  if (!(args.clip_grad >= 0.0)) {
    return RefuseArgument(kOp, absl::StrCat("clip_grad=", args.clip_grad), "clip_grad >= 0");
  }
  return RequirePointers(kOp, {{"shares", args.shares}, {"step", args.step}});
}

template <typename T>
absl::Status Validate(const AdamWArgs<T>& args) {
  const auto decays = [](double beta) { return beta >= 0.0 && beta < 1.0; };
  RETURN_IF_ERROR(ValidateSpans("adamw", args.parameters));
  RETURN_IF_ERROR(RequireRange("beta1", args.beta1, decays(args.beta1), "0 <= beta1 < 1"));
  RETURN_IF_ERROR(RequireRange("beta2", args.beta2, decays(args.beta2), "0 <= beta2 < 1"));
  RETURN_IF_ERROR(RequireRange("eps", args.eps, args.eps > 0.0, "eps > 0"));
  return RequirePointers("adamw", {{"step", args.step}});
}

template absl::Status Validate(const GradientNormArgs<float>&);
template absl::Status Validate(const GradientNormArgs<double>&);
template absl::Status Validate(const GradientNormArgs<bf16>&);
template absl::Status Validate(const AdamWArgs<float>&);
template absl::Status Validate(const AdamWArgs<double>&);
template absl::Status Validate(const AdamWArgs<bf16>&);

}  // namespace birkhoff
