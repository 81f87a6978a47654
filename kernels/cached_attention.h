// Causal grouped-query attention of a few new tokens over the keys and values of one sequence so
// far, as generation asks for it.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

// Head h reads key and value head h / (heads / kv_heads); new token t sees tokens 0 .. past + t of
// the sequence; scores are scaled by 1 / sqrt(D).  With past = 0 the definition is that of
// AttentionForward.
template <typename T>
struct CachedAttentionArgs {
  int64_t tokens = 0;         // new ones
  int64_t past = 0;           // tokens before them
  int heads = 0;              // query heads
  int kv_heads = 0;           // divides heads
  int head_dim = 0;           // D
  const T* q = nullptr;       // [tokens, heads, D], rotated; tokens q_stride elements apart
  int64_t q_stride = 0;       // >= heads * D
  const T* k = nullptr;       // [past + tokens, kv_heads, D], rotated, the new ones last
  const T* v = nullptr;       // [past + tokens, kv_heads, D]
  int64_t kv_stride = 0;      // >= kv_heads * D, of k and of v
  T* out = nullptr;           // [tokens, heads, D], dense
  void* workspace = nullptr;  // past + tokens elements of ScalarOf<T>
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const CachedAttentionArgs<T>& args);

// Sums in a fixed order.  Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.
// T: float, double.
namespace cpu {
template <typename T>
absl::Status CachedAttention(const CachedAttentionArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
