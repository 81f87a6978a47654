// The residual mappings on a handful of tokens at once, token innermost, so that the compiler turns
// the innermost loops into vector instructions.  Lanes never mix: a token's bits do not depend on
// its neighbours.
#pragma once

#include "kernels/mapping.h"

namespace birkhoff::cpu {

inline constexpr int kMixLanes = 8;

template <typename T>
using Lane = T[kMixLanes];

// logits [K_res][lanes] -> matrix [n * n][lanes].  Lanes without a token: any finite logits.
template <typename T>
void MixLanesForward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix);

// logits, dmatrix -> dlogits [K_res][lanes]; workspace: MixWorkspaceElements(shape).
template <typename T>
void MixLanesBackward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                      Lane<T>* dlogits, T* workspace);

// The Sinkhorn mapping of these two.
template <typename T>
void SinkhornLanesForward(const MixShape& shape, const Lane<T>* logits, Lane<T>* matrix);
template <typename T>
void SinkhornLanesBackward(const MixShape& shape, const Lane<T>* logits, const Lane<T>* dmatrix,
                           Lane<T>* dlogits, T* workspace);

}  // namespace birkhoff::cpu
