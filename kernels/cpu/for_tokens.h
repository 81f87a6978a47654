// Loops over tokens that do not depend on each other.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

namespace birkhoff::cpu {

// Worth a thread's waking up, and still more than one where a sequence is short.
inline constexpr int64_t kTokensOfTask = 32;

// work(Piece) on runs of tokens, shared out, for the processor's best instructions.
template <typename T, typename Work>
void ForTokens(int64_t tokens, const Work& work) {
  ShareOut(NumPieces(tokens, kTokensOfTask), [&](int64_t index) {
    OnBestIsa<T>([&] { work(Piece(index, kTokensOfTask, tokens)); });
  });
}

}  // namespace birkhoff::cpu
