// The boundary between two sub-layers: a source (where X comes from) and a sink (who reads it).
// One forward and one backward call per boundary; F, between them, has no norm of its own.
//
//   source  kEmbed     X_0 = expand(E[ids]),  P = I
//           kReceived  X and P stand in `x` and `prefix` already (another stage made them)
//           kMerge     X_{l+1} = H_res_l X_l + H_post_l^T y_l,  P_{l+1} = H_res_l P_l
//   sink    kSubLayer  coefficients of this sub-layer, u = H_pre X, norm_out = gamma u / rms(u)
//           kHead      h = mean or sum of the streams, norm_out = gamma h / rms(h)
//           kNone      X leaves the stage
//
//   rms(a) = sqrt(mean(a^2) + norm_eps).  Kinds (v = X of one token, all n C numbers):
//   kResidual  n = 1, H_pre = H_post = H_res = 1, no coefficients, no parameters but gamma
//   kMhc       r = sqrt(mean(v^2) + mix_eps);  [p | q | s] = v phi / r
//              H_pre = sigmoid(a_pre p + b_pre),  H_post = 2 sigmoid(a_post q + b_post),
//              H_res = mapping(a_res s + b_res); a mapping may have other gates, and fewer columns
//              of phi: what it has none for is its bias alone (core/base/mapping.h)
//   kHc        xn_j = x_j / sqrt(mean(x_j^2) + mix_eps), j a stream
//              H_pre[j] = a_pre tanh(theta_0 . xn_j) + b_pre[j],  H_post alike with theta_1,
//              H_res[i][j] = a_res tanh(theta_{2+i} . xn_j) + b_res[i][j]
// Sources: DESIGN section 5; arXiv 2512.24880 eq. 3 to 9; arXiv 2409.19606.
//
// H_res[i][j] is the weight of old stream j in new stream i.  Gains (gain.h) are measured on P, the
// product H_l ... H_0 of each token, and S, the product H_{L-1} ... H_l.
//
// Everything is row-major.  T is the type of streams and activations, S = ScalarOf<T> (types.h)
// that of coefficients, logits, parameters, products of matrices and gradients of parameters; T is
// rounded once, where it is written.  Calls allocate nothing and keep nothing.  Same input, same
// bits; a recompute gives the bits of forward, and a stage that ends or begins at a merge those of an
// uncut run, where rows are aligned alike.  No NaN comes from rows of zeros.  On a GPU a value that is
// not finite may reach its channel in seven neighbouring tokens.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/mapping.h"
#include "kernels/types.h"

namespace birkhoff {

enum class BoundaryKind { kResidual, kHc, kMhc };
enum class BoundarySource { kEmbed, kReceived, kMerge };
enum class BoundarySink { kSubLayer, kHead, kNone };
enum class StreamExpand { kCopy, kOneHot };  // one-hot: the embedding in stream 0, zeros elsewhere
enum class StreamContract { kMean, kSum };

struct BoundaryShape {
  BoundaryKind kind = BoundaryKind::kMhc;
  MappingKind mapping = MappingKind::kSinkhorn;  // of kMhc; others ignore it
  int sinkhorn_iterations = 20;
  int streams = 4;         // n, 1..8; 1 for kResidual
  int64_t tokens = 0;      // >= 0
  int64_t channels = 0;    // C > 0
  double mix_eps = 1e-6;   // under r; > 0
  double norm_eps = 1e-6;  // under rms; > 0
};

// Sizes, in elements.
MixShape MixShapeOf(const BoundaryShape& shape);  // kResidual: identity; kHc: unconstrained
// D: of kMhc's 2n + K_res columns the first, which depend on the token; other kinds: 0.
int64_t DynamicColumns(const BoundaryShape& shape);
// 0 | 2n + n^2: H_pre [n], H_post [n], H_res [n, n].  The next merge and a recompute need no more.
int64_t CoefficientsPerToken(const BoundaryShape& shape);
// What only the backward pass needs.  kResidual: 0.  kMhc: D + 1: those of p, q, s, then 1/r.
// kHc: n (n + 3): for each stream j the n + 2 products theta_k . xn_j, then 1 / rms of x_j.
int64_t LogitsPerToken(const BoundaryShape& shape);
// Both together: 49 for mhc with Sinkhorn at n = 4.
int64_t SavedPerToken(const BoundaryShape& shape);
int64_t ProjectionElements(const BoundaryShape& shape);  // phi | theta | 0
int64_t BiasElements(const BoundaryShape& shape);        // 2n + K_res | 0

// Parameters of the sub-layer (or head) that the sink feeds.
template <typename T>
struct BoundaryParameters {
  using S = ScalarOf<T>;
  const S* projection = nullptr;  // kMhc: phi [n C, D] (pre, post, res); null where D = 0
                                  // kHc: theta [2 + n, C] (pre, post, res rows)
  const S* alpha = nullptr;       // [3]: a_pre, a_post, a_res; null where D = 0
  const S* bias = nullptr;        // [2n + K_res]: pre, post, res row-major
  const S* gamma = nullptr;       // [C]; all that kResidual and kHead need
};

// Their gradients; added to (+=).
template <typename T>
struct BoundaryGradients {
  using S = ScalarOf<T>;
  S* projection = nullptr;
  S* alpha = nullptr;
  S* bias = nullptr;
  S* gamma = nullptr;
};

template <typename T>
struct BoundarySourceArgs {
  using S = ScalarOf<T>;
  BoundarySource kind = BoundarySource::kReceived;
  // kEmbed
  const T* embedding = nullptr;  // [vocabulary, C]
  const int32_t* ids = nullptr;  // [tokens], in [0, vocabulary)
  int64_t vocabulary = 0;
  StreamExpand expand = StreamExpand::kCopy;
  // kMerge: of sub-layer l
  const T* x = nullptr;             // X_l [tokens, n, C]
  const T* y = nullptr;             // y_l [tokens, C]
  const S* coefficients = nullptr;  // [tokens, 2n + n^2]; unused by kResidual
};

template <typename T>
struct BoundaryForwardArgs {
  using S = ScalarOf<T>;
  BoundaryShape shape = {};
  BoundarySourceArgs<T> source = {};
  T* x = nullptr;  // [tokens, n, C]: read with kReceived, else written; may be source.x
  const S* prefix_below = nullptr;  // P_l [tokens, n, n]; kMerge, with prefix
  S* prefix = nullptr;  // P after the merge, or I with kEmbed; untouched with kReceived; may be
                        // prefix_below; null: no gains wanted
  BoundarySink sink = BoundarySink::kSubLayer;
  StreamContract contract = StreamContract::kMean;  // kHead
  BoundaryParameters<T> parameters = {};            // kSubLayer, kHead
  S* coefficients = nullptr;                        // kSubLayer, out; unused by kResidual
  S* logits = nullptr;                              // kSubLayer, out; unused by kResidual
  T* contracted = nullptr;                          // [tokens, C] h; kHead, out
  T* norm_out = nullptr;                            // [tokens, C]; kSubLayer, kHead
  S* norm_inv_rms = nullptr;                        // [tokens] 1 / rms(u | h); kSubLayer, kHead
};

// Rebuilds x and norm_out from saved coefficients: no projection, no mapping.
template <typename T>
struct BoundaryRecomputeArgs {
  using S = ScalarOf<T>;
  BoundaryShape shape = {};
  BoundarySourceArgs<T> source = {};
  T* x = nullptr;  // as in forward
  BoundarySink sink = BoundarySink::kSubLayer;
  StreamContract contract = StreamContract::kMean;
  const S* gamma = nullptr;
  const S* coefficients = nullptr;  // kSubLayer: saved by forward
  const S* norm_inv_rms = nullptr;  // kSubLayer, kHead: saved by forward
  T* norm_out = nullptr;            // kSubLayer, kHead; null: not wanted
};

// First the sink's part, dX of this boundary, then the source's.
template <typename T>
struct BoundaryBackwardArgs {
  using S = ScalarOf<T>;
  BoundaryShape shape = {};
  BoundarySink sink = BoundarySink::kSubLayer;
  StreamContract contract = StreamContract::kMean;
  const T* dx_above = nullptr;      // kSubLayer: dX_{l+1} [tokens, n, C]
  const T* x = nullptr;             // kSubLayer: X_l, what the sink read
  const T* contracted = nullptr;    // kHead: saved by forward
  const T* y = nullptr;             // kSubLayer: y_l [tokens, C], F's output; unused by kResidual
  const T* dnorm = nullptr;         // kSubLayer, kHead: gradient of norm_out [tokens, C]
  const S* norm_inv_rms = nullptr;  // kSubLayer, kHead: saved by forward
  const S* coefficients = nullptr;  // kSubLayer, of l
  const S* logits = nullptr;        // kSubLayer, of l
  // kSubLayer: all streams of x are equal, as copies of the embedding are.  Where the rows of kMhc's
  // H_res sum to 1, H_res x is x whatever its logits, and their gradient is 0: it is written as 0,
  // which adds exactly nothing to the residual parts of bias, alpha and projection and to dx through
  // them.  Summed up instead it is rounding noise.  Without meaning for other mappings and kinds.
  bool equal_streams = false;
  BoundaryParameters<T> parameters = {};
  BoundaryGradients<T> gradients = {};
  const S* suffix_above = nullptr;  // S_{l+1} [tokens, n, n]; kSubLayer, with suffix
  S* suffix = nullptr;              // S_l = S_{l+1} H_res_l; kHead: I; untouched with kNone; may be
                                    // suffix_above; null: no gains wanted
  T* dx = nullptr;  // dX_l [tokens, n, C]: read with kNone, else written; may be dx_above

  BoundarySource source = BoundarySource::kReceived;  // kReceived: dx is all there is to do
  const S* coefficients_below = nullptr;              // kMerge: of l - 1; unused by kResidual
  T* dy_below = nullptr;                      // kMerge: dy_{l-1} = H_post_{l-1} dX_l [tokens, C]
  S* dembedding = nullptr;                    // kEmbed: [vocabulary, C], added to (+=)
  const int32_t* ids = nullptr;               // kEmbed
  int64_t vocabulary = 0;                     // kEmbed
  StreamExpand expand = StreamExpand::kCopy;  // kEmbed

  // As many bytes as the backend says; kSubLayer, and on a GPU kHead and kEmbed too.
  void* workspace = nullptr;
};

// What every backend checks first: shapes and pointers, never data; the errors below.
template <typename T>
absl::Status Validate(const BoundaryForwardArgs<T>& args);
template <typename T>
absl::Status Validate(const BoundaryRecomputeArgs<T>& args);
template <typename T>
absl::Status Validate(const BoundaryBackwardArgs<T>& args);

// Errors: INVALID_ARGUMENT a rule above is broken, an id beyond the vocabulary among them; nothing
// was written.  T: float, double.
namespace cpu {
// Elements of T that the backward call needs as workspace.
int64_t BoundaryWorkspaceElements(const BoundaryShape& shape);
template <typename T>
absl::Status BoundaryForward(const BoundaryForwardArgs<T>& args);
template <typename T>
absl::Status BoundaryRecompute(const BoundaryRecomputeArgs<T>& args);
template <typename T>
absl::Status BoundaryBackward(const BoundaryBackwardArgs<T>& args);
}  // namespace cpu

}  // namespace birkhoff
