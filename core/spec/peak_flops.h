// What cards could do at most: the denominator of MFU.
#pragma once

#include <string_view>

#include "core/spec/precision.h"

namespace birkhoff {

// Floating-point operations per second of dense matrix products on one card, by its maker's data
// sheet: bf16 on tensor cores; fp32 without them, because products in fp32 use no TF32 here.
// `card`: as the driver names it, "NVIDIA H100 80GB HBM3".  0: not known, as for a part of a card
// (MIG), a CPU, or fp64.
double PeakFlops(std::string_view card, Precision precision);

// The share of the peak that the model's own operations take (MFU, docs/metrics.md); all > 0.
inline double FlopsUtilization(double flops, double seconds, double peak_flops) {
  return flops / (seconds * peak_flops);
}

}  // namespace birkhoff
