// Measured over the shapes of this project (docs/performance.md, "Products on the CPU"), rounded:
// processors of one set of instructions differ by as much as a factor of two.
#include "core/spec/product_rate.h"

namespace birkhoff {

double ProductRate(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return 2.6e10;  // OpenBLAS's kernels for SSE2 (Prescott), Emerald Rapids
    case Isa::kAvx2:
      return 1.1e11;  // oneDNN held to AVX2, Zen 5: 105 to 132
    case Isa::kAvx512:
      return 1.7e11;  // oneDNN, Emerald Rapids: 120 to 137, Zen 5: 225 to 263
  }
  return 0.0;
}

}  // namespace birkhoff
