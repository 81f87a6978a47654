#include "kernels/adamw.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

absl::Status RequireRange(const char* name, double value, bool inside, const char* needed) {
  if (inside) return absl::OkStatus();
  return RefuseArgument("adamw", absl::StrCat(name, "=", value), needed);
}

}  // namespace

absl::Status Validate(const AdamWArgs& args) {
  const auto decays = [](double beta) { return beta >= 0.0 && beta < 1.0; };
  if (args.count < 0) {
    return RefuseArgument("adamw", absl::StrCat("count=", args.count), "count >= 0");
  }
  if (args.step < 1) {
    return RefuseArgument("adamw", absl::StrCat("step=", args.step), "step >= 1");
  }
  RETURN_IF_ERROR(RequireRange("lr", args.lr, args.lr >= 0.0, "lr >= 0"));
  RETURN_IF_ERROR(RequireRange("beta1", args.beta1, decays(args.beta1), "0 <= beta1 < 1"));
  RETURN_IF_ERROR(RequireRange("beta2", args.beta2, decays(args.beta2), "0 <= beta2 < 1"));
  RETURN_IF_ERROR(RequireRange("eps", args.eps, args.eps > 0.0, "eps > 0"));
  RETURN_IF_ERROR(RequireRange("weight_decay", args.weight_decay, args.weight_decay >= 0.0,
                               "weight_decay >= 0"));
  if (args.count == 0) return absl::OkStatus();
  return RequirePointers("adamw", {{"weight", args.weight},
                                   {"gradient", args.gradient},
                                   {"first_moment", args.first_moment},
                                   {"second_moment", args.second_moment}});
}

}  // namespace birkhoff
