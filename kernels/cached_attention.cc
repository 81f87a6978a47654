// What no backend could attend to.
#include "kernels/cached_attention.h"

#include "core/base/status_macros.h"
#include "kernels/arguments.h"

namespace birkhoff {

template <typename T>
absl::Status Validate(const CachedAttentionArgs<T>& args) {
  constexpr char kOp[] = "cached attention";
  if (args.tokens < 0 || args.past < 0) {
    return RefuseArgument(kOp, absl::StrCat("tokens=", args.tokens, " past=", args.past),
                          "neither below 0");
  }
  if (args.heads < 1 || args.kv_heads < 1 || args.heads % args.kv_heads != 0) {
    return RefuseArgument(kOp, absl::StrCat("heads=", args.heads, " kv_heads=", args.kv_heads),
                          "kv_heads >= 1 that divides heads");
  }
  if (args.head_dim < 1) {
    return RefuseArgument(kOp, absl::StrCat("head_dim=", args.head_dim), "head_dim >= 1");
  }
  if (args.q_stride < int64_t{args.heads} * args.head_dim ||
      args.kv_stride < int64_t{args.kv_heads} * args.head_dim) {
    return RefuseArgument(kOp,
                          absl::StrCat("q_stride=", args.q_stride, " kv_stride=", args.kv_stride),
                          "at least heads * head_dim and kv_heads * head_dim");
  }
  if (args.tokens == 0) return absl::OkStatus();
  return RequirePointers(kOp, {{"q", args.q},
                               {"k", args.k},
                               {"v", args.v},
                               {"out", args.out},
                               {"workspace", args.workspace}});
}

template absl::Status Validate(const CachedAttentionArgs<float>&);
template absl::Status Validate(const CachedAttentionArgs<double>&);
template absl::Status Validate(const CachedAttentionArgs<bf16>&);

}  // namespace birkhoff
