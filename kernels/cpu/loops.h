// What a loop over rows tells the compiler and the processor.
//
// BIRKHOFF_INDEPENDENT before a loop: its turns do not depend on each other, also where an output
// is an input, so g++ may turn it into vector instructions without checking for overlap.
#pragma once

#include <cstdint>

#if defined(__GNUC__) && !defined(__clang__)
#define BIRKHOFF_INDEPENDENT _Pragma("GCC ivdep")
#else
#define BIRKHOFF_INDEPENDENT
#endif

namespace birkhoff::cpu {

// Asks for `count` elements that are read, or written, soon: the rows of the next token, where
// these are several or lie far apart.  A processor sees a row coming once it is in it.
template <typename T>
inline void PrefetchToRead(const T* row, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t c = 0; c < count; c += kLine) __builtin_prefetch(row + c);
}
template <typename T>
inline void PrefetchToWrite(const T* row, int64_t count) {
  constexpr int64_t kLine = 64 / sizeof(T);
  for (int64_t c = 0; c < count; c += kLine) __builtin_prefetch(row + c, 1);
}

}  // namespace birkhoff::cpu
