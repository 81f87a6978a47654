// Sizes by kind, and refusals: of the shape first, then of the pointers that this source and this
// sink will touch, and of no others.
#include "kernels/boundary.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 31;  // rows and columns of products fit an int

absl::Status ValidateShape(const char* op, const BoundaryShape& shape) {
  RETURN_IF_ERROR(ValidateMixShape(MixShapeOf(shape)));
  if (shape.kind == BoundaryKind::kResidual && shape.streams != 1) {
    return RefuseArgument(op, absl::StrCat("streams=", shape.streams), "1 for the plain residual");
  }
  if (shape.tokens < 0 || shape.tokens * shape.streams >= kMostElements) {
    return RefuseArgument(op, absl::StrCat("tokens=", shape.tokens), "0 <= tokens * n < 2^31");
  }
  if (shape.channels <= 0 || shape.channels * shape.streams >= kMostElements) {
    return RefuseArgument(op, absl::StrCat("channels=", shape.channels), "0 < channels * n < 2^31");
  }
  if (!(shape.mix_eps > 0.0)) {
    return RefuseArgument(op, absl::StrCat("mix_eps=", shape.mix_eps), "mix_eps > 0");
  }
  if (!(shape.norm_eps > 0.0)) {
    return RefuseArgument(op, absl::StrCat("norm_eps=", shape.norm_eps), "norm_eps > 0");
  }
  return absl::OkStatus();
}

bool HasCoefficients(const BoundaryShape& shape) { return shape.kind != BoundaryKind::kResidual; }

template <typename T>
absl::Status ValidateSource(const char* op, const BoundaryShape& shape,
                            const BoundarySourceArgs<T>& source) {
  if (source.kind == BoundarySource::kEmbed) {
    return RequirePointers(op, {{"source.embedding", source.embedding}, {"ids", source.ids}});
  }
  if (source.kind == BoundarySource::kReceived) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(op, {{"source.x", source.x}, {"source.y", source.y}}));
  if (!HasCoefficients(shape)) return absl::OkStatus();
  return RequirePointers(op, {{"source.coefficients", source.coefficients}});
}

template <typename T>
absl::Status ValidateParameters(const char* op, const BoundaryShape& shape,
                                const BoundaryParameters<T>& parameters) {
  if (!HasCoefficients(shape)) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(op, {{"bias", parameters.bias}}));
  if (ProjectionElements(shape) == 0) return absl::OkStatus();
  return RequirePointers(op, {{"projection", parameters.projection}, {"alpha", parameters.alpha}});
}

}  // namespace

MixShape MixShapeOf(const BoundaryShape& shape) {
  MappingKind mapping = shape.mapping;
  if (shape.kind == BoundaryKind::kResidual) mapping = MappingKind::kIdentity;
  if (shape.kind == BoundaryKind::kHc) mapping = MappingKind::kUnconstrained;
  return {.mapping = mapping,
          .streams = shape.streams,
          .sinkhorn_iterations = shape.sinkhorn_iterations};
}

int64_t DynamicColumns(const BoundaryShape& shape) {
  return shape.kind == BoundaryKind::kMhc ? NumDynamicColumns(shape.mapping, shape.streams) : 0;
}

int64_t CoefficientsPerToken(const BoundaryShape& shape) {
  if (!HasCoefficients(shape)) return 0;
  return 2 * shape.streams + shape.streams * shape.streams;
}

int64_t LogitsPerToken(const BoundaryShape& shape) {
  if (!HasCoefficients(shape)) return 0;
  if (shape.kind == BoundaryKind::kHc) return shape.streams * (shape.streams + 3);
  return DynamicColumns(shape) + 1;
}

int64_t SavedPerToken(const BoundaryShape& shape) {
  return CoefficientsPerToken(shape) + LogitsPerToken(shape);
}

int64_t ProjectionElements(const BoundaryShape& shape) {
  if (!HasCoefficients(shape)) return 0;
  if (shape.kind == BoundaryKind::kHc) return (2 + shape.streams) * shape.channels;
  return shape.streams * shape.channels * DynamicColumns(shape);
}

int64_t BiasElements(const BoundaryShape& shape) {
  if (!HasCoefficients(shape)) return 0;
  return 2 * shape.streams + NumMixLogits(MixShapeOf(shape));
}

template <typename T>
absl::Status Validate(const BoundaryForwardArgs<T>& args) {
  constexpr char kOp[] = "boundary forward";
  RETURN_IF_ERROR(ValidateShape(kOp, args.shape));
  if (args.shape.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(ValidateSource(kOp, args.shape, args.source));
  RETURN_IF_ERROR(RequirePointers(kOp, {{"x", args.x}}));
  if (args.source.kind == BoundarySource::kMerge && args.prefix != nullptr) {
    RETURN_IF_ERROR(RequirePointers(kOp, {{"prefix_below", args.prefix_below}}));
  }
  if (args.sink == BoundarySink::kNone) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(kOp, {{"gamma", args.parameters.gamma},
                                        {"norm_out", args.norm_out},
                                        {"norm_inv_rms", args.norm_inv_rms}}));
  if (args.sink == BoundarySink::kHead) {
    return RequirePointers(kOp, {{"contracted", args.contracted}});
  }
  RETURN_IF_ERROR(ValidateParameters(kOp, args.shape, args.parameters));
  if (!HasCoefficients(args.shape)) return absl::OkStatus();
  return RequirePointers(kOp, {{"coefficients", args.coefficients}, {"logits", args.logits}});
}

template <typename T>
absl::Status Validate(const BoundaryRecomputeArgs<T>& args) {
  constexpr char kOp[] = "boundary recompute";
  RETURN_IF_ERROR(ValidateShape(kOp, args.shape));
  if (args.shape.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(ValidateSource(kOp, args.shape, args.source));
  RETURN_IF_ERROR(RequirePointers(kOp, {{"x", args.x}}));
  if (args.sink == BoundarySink::kNone || args.norm_out == nullptr) return absl::OkStatus();
  RETURN_IF_ERROR(
      RequirePointers(kOp, {{"gamma", args.gamma}, {"norm_inv_rms", args.norm_inv_rms}}));
  if (args.sink == BoundarySink::kHead || !HasCoefficients(args.shape)) return absl::OkStatus();
  return RequirePointers(kOp, {{"coefficients", args.coefficients}});
}

namespace {

template <typename T>
absl::Status ValidateSinkBackward(const char* op, const BoundaryBackwardArgs<T>& args) {
  if (args.sink == BoundarySink::kNone) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(op, {{"dnorm", args.dnorm},
                                       {"norm_inv_rms", args.norm_inv_rms},
                                       {"gamma", args.parameters.gamma},
                                       {"gradients.gamma", args.gradients.gamma}}));
  if (args.sink == BoundarySink::kHead) {
    return RequirePointers(op, {{"contracted", args.contracted}});
  }
  RETURN_IF_ERROR(RequirePointers(
      op, {{"dx_above", args.dx_above}, {"x", args.x}, {"workspace", args.workspace}}));
  if (args.suffix != nullptr) {
    RETURN_IF_ERROR(RequirePointers(op, {{"suffix_above", args.suffix_above}}));
  }
  RETURN_IF_ERROR(ValidateParameters(op, args.shape, args.parameters));
  if (!HasCoefficients(args.shape)) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(op, {{"y", args.y},
                                       {"coefficients", args.coefficients},
                                       {"logits", args.logits},
                                       {"gradients.bias", args.gradients.bias}}));
  if (ProjectionElements(args.shape) == 0) return absl::OkStatus();
  return RequirePointers(op, {{"gradients.projection", args.gradients.projection},
                              {"gradients.alpha", args.gradients.alpha}});
}

}  // namespace

template <typename T>
absl::Status Validate(const BoundaryBackwardArgs<T>& args) {
  constexpr char kOp[] = "boundary backward";
  RETURN_IF_ERROR(ValidateShape(kOp, args.shape));
  if (args.shape.tokens == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(kOp, {{"dx", args.dx}}));
  RETURN_IF_ERROR(ValidateSinkBackward(kOp, args));
  if (args.source == BoundarySource::kEmbed) {
    return RequirePointers(kOp, {{"dembedding", args.dembedding}, {"ids", args.ids}});
  }
  if (args.source == BoundarySource::kReceived) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(kOp, {{"dy_below", args.dy_below}}));
  if (!HasCoefficients(args.shape)) return absl::OkStatus();
  return RequirePointers(kOp, {{"coefficients_below", args.coefficients_below}});
}

template absl::Status Validate(const BoundaryForwardArgs<float>&);
template absl::Status Validate(const BoundaryForwardArgs<double>&);
template absl::Status Validate(const BoundaryForwardArgs<bf16>&);
template absl::Status Validate(const BoundaryRecomputeArgs<float>&);
template absl::Status Validate(const BoundaryRecomputeArgs<double>&);
template absl::Status Validate(const BoundaryRecomputeArgs<bf16>&);
template absl::Status Validate(const BoundaryBackwardArgs<float>&);
template absl::Status Validate(const BoundaryBackwardArgs<double>&);
template absl::Status Validate(const BoundaryBackwardArgs<bf16>&);

}  // namespace birkhoff
