// What a mapping's row allows, and strides and pointers.
#include "kernels/mapping.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

constexpr int kMaxIterations = 1000;  // of Sinkhorn itself

absl::Status ValidateStrides(const char* op, const MixShape& shape, int64_t tokens,
                             int64_t logits_stride, int64_t matrices_stride) {
  RETURN_IF_ERROR(ValidateMixShape(shape));
  if (tokens < 0) return RefuseArgument(op, absl::StrCat("tokens=", tokens), "tokens >= 0");
  if (logits_stride < NumMixLogits(shape)) {
    return RefuseArgument(op, absl::StrCat("logits_stride=", logits_stride),
                          absl::StrCat("at least ", NumMixLogits(shape), " logits").c_str());
  }
  if (matrices_stride < shape.streams * shape.streams) {
    return RefuseArgument(op, absl::StrCat("matrices_stride=", matrices_stride),
                          absl::StrCat("at least ", shape.streams * shape.streams).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateMixShape(const MixShape& shape) {
  const MappingTraits& traits = TraitsOf(shape.mapping);
  const auto refuse = [&](const char* name, int value, int most, bool usual) {
    return RefuseArgument(
        "mapping", absl::StrCat(name, "=", value),
        absl::StrCat("1 to ", most, usual ? "" : absl::StrCat(" with ", traits.name)).c_str());
  };
  if (shape.streams < 1 || shape.streams > traits.most_streams) {
    return refuse("streams", shape.streams, traits.most_streams,
                  traits.most_streams == kMaxStreams);
  }
  const int most = traits.most_iterations;
  if (most > 0 && (shape.sinkhorn_iterations < 1 || shape.sinkhorn_iterations > most)) {
    return refuse("sinkhorn_iterations", shape.sinkhorn_iterations, most, most == kMaxIterations);
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status Validate(const MixForwardArgs<T>& args) {
  constexpr char kOp[] = "mapping forward";
  RETURN_IF_ERROR(
      ValidateStrides(kOp, args.shape, args.tokens, args.logits_stride, args.matrices_stride));
  if (args.tokens == 0) return absl::OkStatus();
  if (NumMixLogits(args.shape) > 0)
    RETURN_IF_ERROR(RequirePointers(kOp, {{"logits", args.logits}}));
  return RequirePointers(kOp, {{"matrices", args.matrices}});
}

template <typename T>
absl::Status Validate(const MixBackwardArgs<T>& args) {
  constexpr char kOp[] = "mapping backward";
  RETURN_IF_ERROR(
      ValidateStrides(kOp, args.shape, args.tokens, args.logits_stride, args.dmatrices_stride));
  if (args.tokens == 0 || NumMixLogits(args.shape) == 0) return absl::OkStatus();
  if (TraitsOf(args.shape.mapping).most_iterations > 0) {
    RETURN_IF_ERROR(RequirePointers(kOp, {{"workspace", args.workspace}}));
  }
  return RequirePointers(
      kOp, {{"logits", args.logits}, {"dmatrices", args.dmatrices}, {"dlogits", args.dlogits}});
}

template absl::Status Validate(const MixForwardArgs<float>&);
template absl::Status Validate(const MixForwardArgs<double>&);
template absl::Status Validate(const MixBackwardArgs<float>&);
template absl::Status Validate(const MixBackwardArgs<double>&);

}  // namespace birkhoff
