// CHECK: a broken invariant of our own ends the process with a line that names it.  Never for what
// a caller may get wrong.
#pragma once

#include <cstdio>
#include <cstdlib>

#define BIRKHOFF_CHECK(condition, message)                                                  \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      std::fprintf(stderr, "%s:%d: CHECK failed: %s: %s\n", __FILE__, __LINE__, #condition, \
                   (message));                                                              \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)
