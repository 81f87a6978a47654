// When there are too many points, two neighbours become one.
#include "cli/loss_curve.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace birkhoff {
namespace {

constexpr size_t kMostLosses = 1024;
constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr const char* kAscii[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
constexpr int kLevels = static_cast<int>(std::size(kBars));
static_assert(std::size(kAscii) == std::size(kBars));

}  // namespace

void LossCurve::Add(double loss) {
  if (!std::isfinite(loss)) return;
  if (points_.empty()) first_ = loss;
  last_ = loss;
  if (points_.empty() || points_.back().count == stretch_) {
    if (points_.size() == kMostLosses) {
      for (size_t i = 0; i < kMostLosses / 2; ++i) {
        points_[i] = {points_[2 * i].sum + points_[2 * i + 1].sum,
                      points_[2 * i].count + points_[2 * i + 1].count};
      }
      points_.resize(kMostLosses / 2);
      stretch_ *= 2;
    }
    points_.emplace_back();
  }
  points_.back().sum += loss;
  ++points_.back().count;
}

std::string LossCurve::Sparkline(int columns, bool unicode) const {
  const size_t width = std::min(points_.size(), static_cast<size_t>(std::max(columns, 0)));
  std::vector<double> means;
  for (size_t column = 0; column < width; ++column) {
    Point whole;
    for (size_t i = column * points_.size() / width; i < (column + 1) * points_.size() / width;
         ++i) {
      whole.sum += points_[i].sum;
      whole.count += points_[i].count;
    }
    means.push_back(whole.sum / whole.count);
  }
  if (means.empty()) return "";
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  const double range = std::max(*high - *low, std::numeric_limits<double>::min());
  std::string text;
  for (const double mean : means) {
    const int level = std::min(kLevels - 1, static_cast<int>((mean - *low) / range * kLevels));
    text += unicode ? kBars[level] : kAscii[level];
  }
  return text;
}

}  // namespace birkhoff
