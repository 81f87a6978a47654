// A row: the smallest bound on the dearest stage by bisection, then dynamic programming under it.
// A fold, whose ranks take a run from either end, is searched from outside inwards by pairs of
// ends; beyond kMostUnitsSearched units a greedy bound must do.
#include "core/plan/partition.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/plan/schedule.h"

namespace birkhoff {
namespace {

// Prefix sums: what any run of units costs.
class RunCosts {
 public:
  explicit RunCosts(const std::vector<int64_t>& unit_costs) : sums_{0} {
    for (const int64_t cost : unit_costs) sums_.push_back(sums_.back() + cost);
  }
  int num_units() const { return static_cast<int>(sums_.size()) - 1; }
  int64_t Of(int first, int last) const { return sums_[last] - sums_[first]; }
  double Squared(int first, int last) const {
    const double cost = static_cast<double>(Of(first, last));
    return cost * cost;
  }

 private:
  std::vector<int64_t> sums_;
};

// Smallest bound in [low, high] that `feasible` accepts; `high` must be feasible.
template <typename Feasible>
int64_t SmallestBound(int64_t low, int64_t high, Feasible feasible) {
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (feasible(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high;
}

// ---- A straight row: one stage per rank.

bool RowFits(const RunCosts& costs, int stages, int64_t bound) {
  int first = 0;
  for (int stage = 0; stage < stages; ++stage) {
    const int limit = costs.num_units() - (stages - 1 - stage);  // the others need a unit each
    int last = first;
    while (last < limit && costs.Of(first, last + 1) <= bound) ++last;
    if (last == first) return false;
    first = last;
  }
  return first == costs.num_units();
}

std::vector<UnitRange> PartitionRow(const RunCosts& costs, int stages) {
  const int units = costs.num_units();
  // The smallest cost of a dearest stage.
  const int64_t bound = SmallestBound(
      0, costs.Of(0, units), [&](int64_t candidate) { return RowFits(costs, stages, candidate); });
  // best[s][u]: least sum of squares of s stages over the first u units; cut[s][u]: where the last
  // of them starts.
  std::vector<std::vector<double>> best(stages + 1, std::vector<double>(units + 1, -1.0));
  std::vector<std::vector<int>> cut(stages + 1, std::vector<int>(units + 1, 0));
  best[0][0] = 0.0;
  for (int stage = 1; stage <= stages; ++stage) {
    for (int last = stage; last <= units; ++last) {
      for (int first = last - 1; first >= 0 && costs.Of(first, last) <= bound; --first) {
        if (best[stage - 1][first] < 0.0) continue;
        const double sum = best[stage - 1][first] + costs.Squared(first, last);
        if (best[stage][last] >= 0.0 && sum > best[stage][last]) continue;
        best[stage][last] = sum;
        cut[stage][last] = first;
      }
    }
  }
  // The cuts, from the last stage to the first.
  std::vector<UnitRange> ranges(stages);
  for (int stage = stages, last = units; stage > 0; last = cut[stage--][last]) {
    ranges[stage - 1] = {cut[stage][last], last};
  }
  return ranges;
}

// ---- A folded row: rank k takes a run from either end of what is left.

// How far the folds come: by left end, the smallest right end reached (-1: none) and the left end
// that it was reached from.
struct FoldReach {
  std::vector<int> rest, from;
  explicit FoldReach(int units) : rest(units + 1, -1), from(units + 1, -1) {}
};

// What every number of folds reaches under `bound` if each takes as much as possible from the right
// for each amount from the left.  Sometimes a smaller bound would do, where that leaves a dear unit
// alone.  With `keep` all are returned, else the last one only.
std::vector<FoldReach> ReachFolds(const RunCosts& costs, int folds, int64_t bound, bool keep) {
  const int units = costs.num_units();
  std::vector<FoldReach> reached;
  reached.emplace_back(units).rest[0] = units;
  for (int fold = 0; fold + 1 < folds; ++fold) {
    const int needed = 2 * (folds - 1 - fold);  // units that the later folds must find
    const std::vector<int>& rest = reached.back().rest;
    FoldReach next(units);
    for (int left = 0; left <= units; ++left) {
      if (rest[left] < 0) continue;
      int start = rest[left] - 1;  // of the right run, for the current left run
      while (start > 0 && costs.Of(start - 1, rest[left]) <= bound) --start;
      // The longer the left run, the later the right one starts: both only move to the right.
      for (int cut = left + 1; cut + needed < rest[left]; ++cut) {
        const int64_t spent = costs.Of(left, cut);
        while (start < rest[left] && spent + costs.Of(start, rest[left]) > bound) ++start;
        if (start == rest[left]) break;
        const int end = std::max(start, cut + needed);
        if (next.rest[cut] >= 0 && end >= next.rest[cut]) continue;
        next.rest[cut] = end;
        next.from[cut] = left;
      }
    }
    if (!keep) reached.clear();
    reached.push_back(std::move(next));
  }
  return reached;
}

// The left end of a last fold that fits; -1: none does.
int LastFold(const RunCosts& costs, const FoldReach& reached, int64_t bound) {
  int best = -1;
  int64_t least = bound;
  for (int left = 0; left < costs.num_units(); ++left) {
    if (reached.rest[left] < left + 2) continue;
    const int64_t cost = costs.Of(left, reached.rest[left]);
    if (cost > least || (best >= 0 && cost == least)) continue;
    best = left;
    least = cost;
  }
  return best;
}

bool FoldFits(const RunCosts& costs, int folds, int64_t bound) {
  return LastFold(costs, ReachFolds(costs, folds, bound, /*keep=*/false).back(), bound) >= 0;
}

// One way to have taken everything outside [left, right).
struct FoldState {
  int left = 0, right = 0;
  int before = -1;      // index of the state it comes from, one layer up
  int64_t dearest = 0;  // rank so far
  double squares = 0.0;
};
using FoldLayer = std::vector<FoldState>;  // distinct [left, right)
using Better = bool (*)(const FoldState&, const FoldState&);

bool HasCheaperRanks(const FoldState& a, const FoldState& b) { return a.dearest < b.dearest; }
bool IsMoreEven(const FoldState& a, const FoldState& b) { return a.squares < b.squares; }

// From every state all ways to take two more runs within `bound` that leave `needed` units.
FoldLayer NextFold(const RunCosts& costs, const FoldLayer& layer, int needed, int64_t bound,
                   Better better) {
  FoldLayer next;
  const size_t width = static_cast<size_t>(costs.num_units()) + 1;
  std::vector<int> index(width * width, -1);  // [left][right] -> position in `next`
  for (size_t from = 0; from < layer.size(); ++from) {
    const FoldState& state = layer[from];
    for (int cut = state.left + 1; cut + needed < state.right; ++cut) {
      const int64_t spent = costs.Of(state.left, cut);
      if (spent > bound) break;
      const double squares = state.squares + costs.Squared(state.left, cut);
      for (int start = state.right - 1; start >= cut + needed; --start) {
        const int64_t fold = spent + costs.Of(start, state.right);
        if (fold > bound) break;
        const FoldState candidate{cut, start, static_cast<int>(from), std::max(state.dearest, fold),
                                  squares + costs.Squared(start, state.right)};
        // Of all ways to leave the same units the better one stays.
        int& at = index[cut * width + start];
        if (at < 0) {
          at = static_cast<int>(next.size());
          next.push_back(candidate);
        } else if (better(candidate, next[at])) {
          next[at] = candidate;
        }
      }
    }
  }
  return next;
}

// Where to cut the last fold [left, right) in two.
int MiddleCut(const RunCosts& costs, int left, int right) {
  int best = left + 1;
  for (int cut = left + 1; cut < right; ++cut) {
    const auto larger = [&](int at) { return std::max(costs.Of(left, at), costs.Of(at, right)); };
    if (larger(cut) < larger(best)) best = cut;
  }
  return best;
}

// The best way to take everything with no rank above `bound`.
struct FoldSearch {
  std::vector<FoldLayer> layers;  // by number of folds taken
  int middle = -1;                // index in the last layer: what the last fold takes
  FoldState best;                 // the same with the last fold's costs
};

FoldSearch SearchFolds(const RunCosts& costs, int folds, int64_t bound, Better better) {
  FoldSearch search;
  // The outer folds, from outside inwards.
  search.layers.push_back({{0, costs.num_units()}});
  for (int fold = 0; fold + 1 < folds; ++fold) {
    search.layers.push_back(
        NextFold(costs, search.layers.back(), 2 * (folds - 1 - fold), bound, better));
  }
  // The last fold takes all that is left.
  const FoldLayer& last = search.layers.back();
  for (size_t i = 0; i < last.size(); ++i) {
    FoldState whole = last[i];
    const int left = whole.left, right = whole.right;
    if (right - left < 2 || costs.Of(left, right) > bound) continue;
    const int cut = MiddleCut(costs, left, right);
    whole.dearest = std::max(whole.dearest, costs.Of(left, right));
    whole.squares += costs.Squared(left, cut) + costs.Squared(cut, right);
    if (search.middle >= 0 && !better(whole, search.best)) continue;
    search.middle = static_cast<int>(i);
    search.best = whole;
  }
  BIRKHOFF_CHECK(search.middle >= 0, "the bound was reached by some partition");
  return search;
}

// Beyond so many units the search for the best partition, whose cost grows with their fourth power,
// gives way to one that is within kTolerance of what FoldFits reaches.
constexpr int kMostUnitsSearched = 300;
constexpr int64_t kTolerance = 4096;  // of the bound: one part in so many

std::vector<UnitRange> PartitionLongFold(const RunCosts& costs, int folds) {
  const int units = costs.num_units();
  // From what a rank must have at least, in steps of a part of it: a bound far above what is needed
  // makes long runs, which are slow to look at.
  const int64_t least = costs.Of(0, units) / folds;
  const int64_t step = std::max<int64_t>(1, least / kTolerance);
  const auto fits = [&](int64_t steps) { return FoldFits(costs, folds, least + steps * step); };
  int64_t high = 1;
  while (!fits(high)) high *= 2;
  const int64_t bound = least + step * SmallestBound(0, high, fits);
  // The way there, from the last fold outwards.
  const std::vector<FoldReach> reached = ReachFolds(costs, folds, bound, /*keep=*/true);
  int left = LastFold(costs, reached.back(), bound);
  BIRKHOFF_CHECK(left >= 0, "the bound was reached by some partition");
  int right = reached.back().rest[left];
  std::vector<UnitRange> ranges(2 * folds);
  const int cut = MiddleCut(costs, left, right);
  ranges[folds - 1] = {left, cut};
  ranges[folds] = {cut, right};
  for (int fold = folds - 1; fold > 0; --fold) {
    const int before = reached[fold].from[left];
    const int end = reached[fold - 1].rest[before];
    ranges[fold - 1] = {before, left};
    ranges[2 * folds - fold] = {right, end};
    left = before;
    right = end;
  }
  return ranges;
}

std::vector<UnitRange> PartitionFold(const RunCosts& costs, int folds) {
  if (costs.num_units() > kMostUnitsSearched) return PartitionLongFold(costs, folds);
  // A bound from above, the least bound under it, and of what keeps that the most even.
  const int64_t above = SmallestBound(0, costs.Of(0, costs.num_units()), [&](int64_t candidate) {
    return FoldFits(costs, folds, candidate);
  });
  const int64_t bound = SearchFolds(costs, folds, above, HasCheaperRanks).best.dearest;
  const FoldSearch search = SearchFolds(costs, folds, bound, IsMoreEven);

  // The way there, from the last fold outwards.
  std::vector<UnitRange> ranges(2 * folds);
  const FoldState* open = &search.layers.back()[search.middle];
  const int cut = MiddleCut(costs, open->left, open->right);
  ranges[folds - 1] = {open->left, cut};
  ranges[folds] = {cut, open->right};
  for (int fold = folds - 1; fold > 0; --fold) {
    const FoldState* before = &search.layers[fold - 1][open->before];
    ranges[fold - 1] = {before->left, open->left};
    ranges[2 * folds - fold] = {open->right, before->right};
    open = before;
  }
  return ranges;
}

}  // namespace

absl::StatusOr<std::vector<UnitRange>> PartitionUnits(const std::vector<int64_t>& unit_costs,
                                                      ScheduleKind kind, int ranks) {
  const int stages = static_cast<int>(PlaceStages(kind, ranks).size());
  const RunCosts costs(unit_costs);
  if (costs.num_units() < stages) {
    return absl::InvalidArgumentError(absl::StrCat(
        "parallelism.pipeline_parallel_degree: ", ScheduleName(kind), " on ", ranks, " ranks has ",
        stages, " stages, but the model has only ", costs.num_units(),
        " units (embedding, sub-layers, head); need at least one unit per stage (lower "
        "parallelism.pipeline_parallel_degree or raise model.num_hidden_layers)"));
  }
  if (kind == ScheduleKind::k1F1B) return PartitionRow(costs, stages);
  return PartitionFold(costs, stages / 2);
}

}  // namespace birkhoff
