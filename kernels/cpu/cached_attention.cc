// Attention over a cache on the CPU: a new token and head at a time, three walks over the tokens
// that it sees.  Of few queries: many are quicker as products (attention.cc).
#include "kernels/cached_attention.h"

#include <algorithm>
#include <cmath>

#include "core/base/status_macros.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/loops.h"

namespace birkhoff::cpu {
namespace {

// out [D] = sum_j weights[j] v[j]
template <typename T>
void WeightedSum(const T* weights, const T* v, int64_t stride, int64_t count, int64_t dim, T* out) {
  std::fill_n(out, dim, T(0));
  for (int64_t j = 0; j < count; ++j) {
    const T weight = weights[j];
    const T* row = v + j * stride;
    BIRKHOFF_INDEPENDENT
    for (int64_t d = 0; d < dim; ++d) out[d] += weight * row[d];
  }
}

template <typename T>
void AttendHead(const CachedAttentionArgs<T>& args, int64_t token, int64_t head) {
  const int64_t dim = args.head_dim, visible = args.past + token + 1;
  const int64_t kv = head / (args.heads / args.kv_heads) * dim;
  const T* q = args.q + token * args.q_stride + head * dim;
  T* out = args.out + (token * args.heads + head) * dim;
  T* weights = static_cast<T*>(args.workspace);
  // Scores.
  const T scale = T(1.0 / std::sqrt(double(dim)));
  for (int64_t j = 0; j < visible; ++j) {
    weights[j] = scale * Dot(q, args.k + j * args.kv_stride + kv, dim);
  }
  // Softmax, not yet divided by its sum.
  const T largest = Largest(weights, visible);
  for (int64_t j = 0; j < visible; ++j) weights[j] = std::exp(weights[j] - largest);
  const T inverse = T(1) / Total(weights, visible);
  // Values.
  WeightedSum(weights, args.v + kv, args.kv_stride, visible, dim, out);
  for (int64_t d = 0; d < dim; ++d) out[d] *= inverse;
}

}  // namespace

template <typename T>
absl::Status CachedAttention(const CachedAttentionArgs<T>& args) {
  RETURN_IF_ERROR(Validate(args));
  for (int64_t token = 0; token < args.tokens; ++token) {
    for (int64_t head = 0; head < args.heads; ++head) AttendHead(args, token, head);
  }
  return absl::OkStatus();
}

template absl::Status CachedAttention(const CachedAttentionArgs<float>&);
template absl::Status CachedAttention(const CachedAttentionArgs<double>&);

}  // namespace birkhoff::cpu
