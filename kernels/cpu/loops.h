// BIRKHOFF_INDEPENDENT before a loop: its turns do not depend on each other, also where an output
// is an input, so g++ may turn it into vector instructions without checking for overlap.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
#define BIRKHOFF_INDEPENDENT _Pragma("GCC ivdep")
#else
#define BIRKHOFF_INDEPENDENT
#endif
