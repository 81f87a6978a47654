// From a run-time number of streams to the constant that kernels take as a template argument.
#pragma once

#include <type_traits>

#include "kernels/mapping.h"

namespace birkhoff {

// Calls work(std::integral_constant<int, n>()) for n of 1 .. kMaxStreams; nothing for other n.
template <int N = 1, typename Work>
void WithStreams(int n, Work&& work) {
  if (n == N) {
    work(std::integral_constant<int, N>());
  } else if constexpr (N < kMaxStreams) {
    WithStreams<N + 1>(n, work);
  }
}

}  // namespace birkhoff
