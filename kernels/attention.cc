// What no backend could rotate or attend to.  sequence_starts lie in the host's memory, so all of
// them are walked here.
#include "kernels/attention.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {
namespace {

absl::Status ValidateHeads(const char* op, const AttentionShape& shape) {
  if (shape.heads < 1 || shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) {
    return RefuseArgument(op, absl::StrCat("heads=", shape.heads, " kv_heads=", shape.kv_heads),
                          "kv_heads >= 1 that divides heads");
  }
  if (shape.head_dim < 1) {
    return RefuseArgument(op, absl::StrCat("head_dim=", shape.head_dim), "head_dim >= 1");
  }
  if (shape.qkv_stride < int64_t{shape.heads} * shape.head_dim) {
    return RefuseArgument(op, absl::StrCat("qkv_stride=", shape.qkv_stride),
                          "at least heads * head_dim");
  }
  return absl::OkStatus();
}

absl::Status ValidateSequences(const char* op, const AttentionShape& shape) {
  if (shape.tokens < 0 || shape.num_sequences < 0) {
    return RefuseArgument(
        op, absl::StrCat("tokens=", shape.tokens, " num_sequences=", shape.num_sequences),
        "neither below 0");
  }
  if (shape.tokens == 0 && shape.num_sequences == 0) return absl::OkStatus();
  RETURN_IF_ERROR(RequirePointers(op, {{"sequence_starts", shape.sequence_starts}}));
  const int32_t* starts = shape.sequence_starts;
  if (starts[0] != 0 || starts[shape.num_sequences] != shape.tokens) {
    return RefuseArgument(
        op, absl::StrCat("sequences from ", starts[0], " to ", starts[shape.num_sequences]),
        absl::StrCat("0 to tokens=", shape.tokens).c_str());
  }
  for (int s = 0; s < shape.num_sequences; ++s) {
    if (starts[s + 1] < starts[s]) {
      return RefuseArgument(op, absl::StrCat("sequence_starts[", s + 1, "]=", starts[s + 1]),
                            absl::StrCat("at least ", starts[s]).c_str());
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateShape(const char* op, const AttentionShape& shape) {
  RETURN_IF_ERROR(ValidateHeads(op, shape));
  return ValidateSequences(op, shape);
}

}  // namespace

template <typename T>
absl::Status Validate(const RopeArgs<T>& args) {
  constexpr char kOp[] = "rope";
  if (args.tokens < 0) {
    return RefuseArgument(kOp, absl::StrCat("tokens=", args.tokens), "tokens >= 0");
  }
  if (args.heads < 1 || args.head_dim < 2 || args.head_dim % 2 != 0) {
    return RefuseArgument(kOp, absl::StrCat("heads=", args.heads, " head_dim=", args.head_dim),
                          "heads >= 1 and an even head_dim");
  }
  if (!(args.theta > 0.0)) {
    return RefuseArgument(kOp, absl::StrCat("theta=", args.theta), "theta > 0");
  }
  if (args.stride < int64_t{args.heads} * args.head_dim) {
    return RefuseArgument(kOp, absl::StrCat("stride=", args.stride), "at least heads * head_dim");
  }
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"positions", args.positions}, {"x", args.x}});
}

template <typename T>
absl::Status Validate(const AttentionForwardArgs<T>& args) {
  constexpr char kOp[] = "attention forward";
  RETURN_IF_ERROR(ValidateShape(kOp, args.shape));
  if (args.shape.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"q", args.q},
                               {"k", args.k},
                               {"v", args.v},
                               {"out", args.out},
                               {"lse", args.lse},
                               {"workspace", args.workspace}});
}

template <typename T>
absl::Status Validate(const AttentionBackwardArgs<T>& args) {
  constexpr char kOp[] = "attention backward";
  RETURN_IF_ERROR(ValidateShape(kOp, args.shape));
  if (args.shape.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"q", args.q},
                               {"k", args.k},
                               {"v", args.v},
                               {"out", args.out},
                               {"lse", args.lse},
                               {"dout", args.dout},
                               {"dq", args.dq},
                               {"dk", args.dk},
                               {"dv", args.dv},
                               {"workspace", args.workspace}});
}

template absl::Status Validate(const RopeArgs<float>&);
template absl::Status Validate(const RopeArgs<double>&);
template absl::Status Validate(const RopeArgs<bf16>&);
template absl::Status Validate(const AttentionForwardArgs<float>&);
template absl::Status Validate(const AttentionForwardArgs<double>&);
template absl::Status Validate(const AttentionForwardArgs<bf16>&);
template absl::Status Validate(const AttentionBackwardArgs<float>&);
template absl::Status Validate(const AttentionBackwardArgs<double>&);
template absl::Status Validate(const AttentionBackwardArgs<bf16>&);

}  // namespace birkhoff
