// Rotary position embedding, and causal grouped-query attention over packed sequences.
// Sources: arXiv 2104.09864 (RoPE, in the "rotate half" pairing of Llama); arXiv 2305.13245 (GQA).
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/types.h"

namespace birkhoff {

// Rotates, in place, channels (i, i + D/2) of every head by positions[t] * theta^(-2i/D):
//   a' = a cos - b sin,   b' = b cos + a sin.
template <typename T>
struct RopeArgs {
  int64_t tokens = 0;
  int heads = 0;         // heads to rotate; query and key heads that lie side by side: one call
  int head_dim = 0;      // D, even
  double theta = 10000;  // > 0
  const int32_t* positions = nullptr;  // [tokens]
  T* x = nullptr;                      // [tokens, heads, D], tokens `stride` elements apart
  int64_t stride = 0;                  // >= heads * D
};

// Head h reads key and value head h / (heads / kv_heads); token t sees the tokens of its own
// sequence up to and including itself; scores are scaled by 1 / sqrt(D).
struct AttentionShape {
  int64_t tokens = 0;
  int heads = 0;     // query heads
  int kv_heads = 0;  // divides heads
  int head_dim = 0;  // D
  int num_sequences = 0;
  // [num_sequences + 1], ascending, first 0, last tokens.  In the host's memory, on every backend;
  // must stay until the work is done.
  const int32_t* sequence_starts = nullptr;
  int64_t qkv_stride = 0;  // elements between tokens of q, k, v and of their gradients: one row of
                           // the fused projection, or heads * D of separate ones
};

template <typename T>
struct AttentionForwardArgs {
  AttentionShape shape = {};
  const T* q = nullptr;        // [tokens, heads, D], rotated; tokens qkv_stride apart
  const T* k = nullptr;        // [tokens, kv_heads, D], rotated; qkv_stride apart
  const T* v = nullptr;        // [tokens, kv_heads, D]; qkv_stride apart
  T* out = nullptr;            // [tokens, heads, D], dense
  ScalarOf<T>* lse = nullptr;  // [heads, tokens]: log sum exp of scaled scores, for the backward
  void* workspace = nullptr;   // as many bytes as the backend says
};

template <typename T>
struct AttentionBackwardArgs {
  AttentionShape shape = {};
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  const T* out = nullptr;  // of the forward pass
  const ScalarOf<T>* lse = nullptr;
  const T* dout = nullptr;  // [tokens, heads, D], dense
  T* dq = nullptr;          // like q, assigned; with respect to the rotated q: un-rotate afterwards
  T* dk = nullptr;          // like k, assigned
  T* dv = nullptr;          // like v, assigned
  void* workspace = nullptr;  // as many bytes as the backend says; not overlapping anything
};

// What every backend checks first; the errors below.
template <typename T>
absl::Status Validate(const RopeArgs<T>& args);
template <typename T>
absl::Status Validate(const AttentionForwardArgs<T>& args);
template <typename T>
absl::Status Validate(const AttentionBackwardArgs<T>& args);

// Errors: INVALID_ARGUMENT a rule above is broken; nothing was written.
namespace cpu {
// Elements of T that either pass needs as workspace; needs only a shape that passes the checks.
// Grows with the longest sequence: pass num_sequences = 1 over all tokens for an upper bound.
int64_t AttentionWorkspaceElements(const AttentionShape& shape);
template <typename T>
absl::Status RopeForward(const RopeArgs<T>& args);
template <typename T>
absl::Status RopeBackward(const RopeArgs<T>& args);  // the inverse rotation, on gradients
template <typename T>
absl::Status AttentionForward(const AttentionForwardArgs<T>& args);
template <typename T>
absl::Status AttentionBackward(const AttentionBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
