// Features as the compiler's runtime reads them from the processor.
#include "core/base/isa.h"

namespace birkhoff {

Isa BestIsa() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return Isa::kAvx512;
  }
  return __builtin_cpu_supports("avx2") ? Isa::kAvx2 : Isa::kBaseline;
}

}  // namespace birkhoff
