// BIRKHOFF_INDEPENDENT before a loop: its turns do not depend on each other, also where an output
// is an input, so the compiler may turn it into vector instructions without checking for overlap.
#pragma once

#if defined(__clang__)
#define BIRKHOFF_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define BIRKHOFF_INDEPENDENT _Pragma("GCC ivdep")
#endif
