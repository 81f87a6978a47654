// The running mean forgets with a factor of 0.97 a step, as ZClip's (arXiv 2504.02507).
#include "coordinator/spike_watch.h"

#include <algorithm>
#include <cmath>

namespace birkhoff {
namespace {

constexpr double kKeep = 0.97;
constexpr int64_t kWarmUp = 20;  // values

}  // namespace

bool SpikeWatch::Add(double value) {
  if (!std::isfinite(value)) return false;
  const double above =
      std::max(limit_.deviations * std::sqrt(variance_), limit_.share * std::abs(mean_));
  const bool spike = count_ >= kWarmUp && value > mean_ + above;
  const double taken = spike ? mean_ + above : value;
  // Young means are plain ones: the first values count alike.
  const double keep =
      std::min(kKeep, static_cast<double>(count_) / static_cast<double>(count_ + 1));
  // Exponentially weighted mean and variance, one value on.
  const double step = taken - mean_;
  mean_ += (1.0 - keep) * step;
  variance_ = keep * (variance_ + (1.0 - keep) * step * step);
  ++count_;
  return spike;
}

}  // namespace birkhoff
