// A run of tokens of a boundary, and the coefficients of the plain residual: all ones.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/boundary.h"
#include "kernels/cpu/coefficients.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

namespace birkhoff::cpu {

struct TokenBlock {
  int64_t first;
  int64_t end;
  int64_t size() const { return end - first; }
};

// work(TokenBlock) for blocks of kBoundaryBlock tokens, shared out, for the processor's best
// instructions.
template <typename T, typename Work>
void ForBlocks(int64_t tokens, const Work& work) {
  ShareOut(NumPieces(tokens, kBoundaryBlock), [&](int64_t index) {
    const Piece piece(index, kBoundaryBlock, tokens);
    OnBestIsa<T>([&] { work(TokenBlock{piece.first, piece.end}); });
  });
}

// The coefficients of token t, also where the kind has none: n = 1 and H_pre = H_post = H_res = 1.
template <typename T>
const T* CoefficientsOf(const BoundaryShape& shape, const T* coefficients, int64_t t) {
  static constexpr T kPlain[2 * kMaxStreams + kMaxMixLogits] = {1, 1, 1};
  if (shape.kind == BoundaryKind::kResidual) return kPlain;
  return coefficients + t * CoefficientsPerToken(shape);
}

}  // namespace birkhoff::cpu
