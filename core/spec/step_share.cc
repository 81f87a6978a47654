// Clear writes zeros, and infinity where a minimum is kept.
#include "core/spec/step_share.h"

#include <algorithm>
#include <limits>

namespace birkhoff {

void ShareLayout::Clear(std::span<double> row) const {
  std::ranges::fill(row, 0.0);
  for (int l = 0; l < sublayers_; ++l) {
    for (const GainOf of : {GainOf::kSingle, GainOf::kPrefix, GainOf::kSuffix}) {
      double* const gains = row.data() + GainsAt(l, of);
      gains[kRowSumMin] = gains[kColumnSumMin] = std::numeric_limits<double>::infinity();
    }
  }
}

}  // namespace birkhoff
