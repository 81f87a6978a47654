// The coefficients of a block of tokens, H_pre, H_post and H_res, from X and back.
#pragma once

#include <cstdint>

#include "kernels/boundary.h"

namespace birkhoff::cpu {

// Tokens that a boundary handles in one go: their X stays in cache from merge to norm.
inline constexpr int64_t kBoundaryBlock = 64;

// x [tokens, n, C] -> logits, coefficients (layouts in boundary.h).  Nothing for kResidual.
template <typename T>
void FormCoefficients(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                      int64_t tokens, const T* x, T* logits, T* coefficients);

template <typename T>
struct CoefficientBackward {
  int64_t tokens = 0;  // at most kBoundaryBlock
  const T* coefficients = nullptr;
  const T* logits = nullptr;
  const T* dcoefficients = nullptr;  // [tokens, 2n + n^2]
  bool equal_streams = false;        // as in BoundaryBackwardArgs
  T* dproducts = nullptr;            // out: gradient of the raw products (v phi, or x_j theta^T)
                                     // kMhc [tokens, D], kHc [tokens, n, 2 + n]
  T* norm = nullptr;                 // out [tokens, n]: dx_j gets -norm[j] x_j, the path through r
  T* workspace = nullptr;            // MixWorkspaceElements
};

// Adds to the gradients of alpha and bias.
template <typename T>
void CoefficientsBackward(const BoundaryShape& shape, const BoundaryParameters<T>& parameters,
                          const BoundaryGradients<T>& gradients,
                          const CoefficientBackward<T>& args);

// dx += dproducts projection^T, of `tokens` of them.
template <typename T>
void ProjectionBackwardInput(const BoundaryShape& shape, int64_t tokens, const T* projection,
                             const T* dproducts, T* dx);
// dprojection += x^T dproducts, of all tokens, shared out among the thread's team.
template <typename T>
void ProjectionBackwardWeight(const BoundaryShape& shape, const T* x, const T* dproducts,
                              T* dprojection);

// Columns of dproducts per token.
int64_t ProductsPerToken(const BoundaryShape& shape);

}  // namespace birkhoff::cpu
