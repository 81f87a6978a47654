// Whether a value stands out from those before it: a running mean and deviation, and a limit above
// them.  Pure.
#pragma once

#include <cstdint>

namespace birkhoff {

struct SpikeLimit {
  double deviations = 4.0;  // above the running mean, and ...
  double share = 0.1;       // ... by this share of it at least, where the values hardly vary
};
// A loss a tenth above its mean is rare in a healthy run; gradients vary by themselves.
inline constexpr SpikeLimit kLossSpike = {4.0, 0.1};
inline constexpr SpikeLimit kGradientSpike = {4.0, 2.0};

class SpikeWatch {
 public:
  explicit SpikeWatch(SpikeLimit limit) : limit_(limit) {}

  // The first 20 values are never spikes.  A spike moves the mean only as far as the limit would,
  // so that the next one is seen too and a new level becomes the norm.  A value that is not finite
  // is none and is not looked at: such a step is skipped.
  bool Add(double value);

 private:
  SpikeLimit limit_;
  int64_t count_ = 0;
  double mean_ = 0.0;
  double variance_ = 0.0;
};

}  // namespace birkhoff
