// Names, sizes and limits of the mappings; permutations end at n = 4, where n! is still few.
#include "kernels/mapping.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

constexpr int kMaxPermutedStreams = 4;  // 4! = 24 logits; 5! would be 120 per token
constexpr int kMaxIterations = 1000;

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

const char* MixMappingName(MixMapping mapping) {
  switch (mapping) {
    case MixMapping::kIdentity:
      return "identity";
    case MixMapping::kFree:
      return "free";
    case MixMapping::kSinkhorn:
      return "sinkhorn";
    case MixMapping::kPermutations:
      return "permutations";
  }
  return "unknown";
}

int NumMixLogits(const MixShape& shape) {
  if (shape.mapping == MixMapping::kIdentity) return 0;
  if (shape.mapping != MixMapping::kPermutations) return shape.streams * shape.streams;
  int factorial = 1;
  for (int i = 2; i <= shape.streams; ++i) factorial *= i;
  return factorial;
}

absl::Status ValidateMixShape(const MixShape& shape) {
  const bool permutes = shape.mapping == MixMapping::kPermutations;
  const int most = permutes ? kMaxPermutedStreams : kMaxStreams;
  if (shape.streams < 1 || shape.streams > most) {
    return RefuseArgument("mapping", absl::StrCat("streams=", shape.streams),
                          permutes ? "1 to 4 with permutations" : "1 to 8");
  }
  const bool iterates = shape.mapping == MixMapping::kSinkhorn;
  if (iterates && (shape.sinkhorn_iterations < 1 || shape.sinkhorn_iterations > kMaxIterations)) {
    return RefuseArgument(
        "mapping", absl::StrCat("sinkhorn_iterations=", shape.sinkhorn_iterations), "1 to 1000");
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
  if (args.shape.mapping == MixMapping::kSinkhorn) {
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
