#include "core/plan/partition.h"

#include <algorithm>
#include <map>
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
  std::vector<UnitRange> ranges(stages);
  for (int stage = stages, last = units; stage > 0; last = cut[stage--][last]) {
    ranges[stage - 1] = {cut[stage][last], last};
  }
  return ranges;
}

// ---- A folded row: rank k takes a run from the left end and one from the right end of what is
// left.

// Whether every fold can stay under `bound`: taking as much as possible from the right for each
// amount from the left never hurts.
bool FoldFits(const RunCosts& costs, int folds, int64_t bound) {
  const int units = costs.num_units();
  std::vector<int> rest(units + 1, -1);  // by left end: smallest right end reached, -1: none
  rest[0] = units;
  for (int fold = 0; fold + 1 < folds; ++fold) {
    const int needed = 2 * (folds - 1 - fold);  // units that the later folds must find
    std::vector<int> next(units + 1, -1);
    for (int left = 0; left <= units; ++left) {
      if (rest[left] < 0) continue;
      int start = rest[left] - 1;  // of the right run, for the current left run
      while (start > 0 && costs.Of(start - 1, rest[left]) <= bound) --start;
      for (int cut = left + 1; cut + needed < rest[left]; ++cut) {
        const int64_t spent = costs.Of(left, cut);
        while (start < rest[left] && spent + costs.Of(start, rest[left]) > bound) ++start;
        if (start == rest[left]) break;
        const int end = std::max(start, cut + needed);
        if (next[cut] < 0 || end < next[cut]) next[cut] = end;
      }
    }
    rest = std::move(next);
  }
  for (int left = 0; left <= units; ++left) {
    if (rest[left] >= left + 2 && costs.Of(left, rest[left]) <= bound) return true;
  }
  return false;
}

// One way to have taken everything outside [left, right).
struct FoldState {
  double squares = 0.0;
  std::pair<int, int> before;  // the state of the fold before
};
using FoldLayer = std::map<std::pair<int, int>, FoldState>;

void Relax(FoldLayer& layer, std::pair<int, int> to, const FoldState& state) {
  const auto [found, inserted] = layer.emplace(to, state);
  if (!inserted && state.squares < found->second.squares) found->second = state;
}

FoldLayer NextFold(const RunCosts& costs, const FoldLayer& layer, int needed, int64_t bound) {
  FoldLayer next;
  for (const auto& [open, state] : layer) {
    const auto [left, right] = open;
    for (int cut = left + 1; costs.Of(left, cut) <= bound && cut + needed < right; ++cut) {
      const int64_t room = bound - costs.Of(left, cut);
      const double left_squares = state.squares + costs.Squared(left, cut);
      for (int start = right - 1; start >= cut + needed && costs.Of(start, right) <= room;
           --start) {
        Relax(next, {cut, start}, {left_squares + costs.Squared(start, right), open});
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

std::vector<UnitRange> PartitionFold(const RunCosts& costs, int folds) {
  const int units = costs.num_units();
  const int64_t bound = SmallestBound(
      0, costs.Of(0, units), [&](int64_t candidate) { return FoldFits(costs, folds, candidate); });
  std::vector<FoldLayer> layers(1);
  layers[0][{0, units}] = {};
  for (int fold = 0; fold + 1 < folds; ++fold) {
    layers.push_back(NextFold(costs, layers.back(), 2 * (folds - 1 - fold), bound));
  }
  std::pair<int, int> open{-1, -1};
  double least = 0.0;
  for (const auto& [candidate, state] : layers.back()) {
    const auto [left, right] = candidate;
    if (right - left < 2 || costs.Of(left, right) > bound) continue;
    const int cut = MiddleCut(costs, left, right);
    const double sum = state.squares + costs.Squared(left, cut) + costs.Squared(cut, right);
    if (open.first >= 0 && sum >= least) continue;
    open = candidate;
    least = sum;
  }
  BIRKHOFF_CHECK(open.first >= 0, "the bound was reached by some partition");

  std::vector<UnitRange> ranges(2 * folds);
  const int cut = MiddleCut(costs, open.first, open.second);
  ranges[folds - 1] = {open.first, cut};
  ranges[folds] = {cut, open.second};
  for (int fold = folds - 1; fold > 0; --fold) {
    const std::pair<int, int> before = layers[fold].at(open).before;
    ranges[fold - 1] = {before.first, open.first};
    ranges[2 * folds - fold] = {open.second, before.second};
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
