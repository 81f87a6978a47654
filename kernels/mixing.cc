// What the measures of mixing need: at least two streams, and the pointers of the parts asked for.
#include "kernels/mixing.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {

template <typename T>
absl::Status Validate(const MixingArgs<T>& args) {
  constexpr char kOp[] = "mixing";
  const BoundaryShape& shape = args.shape;
  if (shape.kind == BoundaryKind::kResidual || shape.streams < 2 || shape.streams > kMaxStreams) {
    return RefuseArgument(kOp, absl::StrCat("streams=", shape.streams), "2 to 8 that are mixed");
  }
  RETURN_IF_ERROR(ValidateMixShape(MixShapeOf(shape)));
  if (shape.tokens < 0) {
    return RefuseArgument(kOp, absl::StrCat("tokens=", shape.tokens), "tokens >= 0");
  }
  if (shape.tokens == 0) return absl::OkStatus();
  if (args.coefficients != nullptr) {
    RETURN_IF_ERROR(RequirePointers(kOp, {{"opened", args.opened}}));
    if (shape.kind == BoundaryKind::kMhc) {
      RETURN_IF_ERROR(RequirePointers(kOp, {{"logits", args.logits}, {"bias", args.bias}}));
      if (DynamicColumns(shape) > 0) RETURN_IF_ERROR(RequirePointers(kOp, {{"alpha", args.alpha}}));
    }
  }
  if (args.prefix == nullptr) return absl::OkStatus();
  return RequirePointers(kOp, {{"x", args.x}, {"merged", args.merged}});
}

template absl::Status Validate(const MixingArgs<float>&);
template absl::Status Validate(const MixingArgs<double>&);
template absl::Status Validate(const MixingArgs<bf16>&);

}  // namespace birkhoff
