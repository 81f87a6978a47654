// Distances between words, one row of the table at a time.
#include "core/base/nearest.h"

#include <algorithm>

namespace birkhoff {

int EditDistance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    int diagonal = row[0];
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const int substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

int LargestSlip(size_t letters) { return std::max<int>(2, static_cast<int>(letters) / 3); }

std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  int best_distance = LargestSlip(word.size()) + 1;
  for (const std::string& candidate : candidates) {
    const int away = EditDistance(word, candidate);
    if (away >= best_distance) continue;
    best = candidate;
    best_distance = away;
  }
  return best;
}

}  // namespace birkhoff
