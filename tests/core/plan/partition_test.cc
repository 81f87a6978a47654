// Partitions against brute force.
#include "core/plan/partition.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/schedule.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

int64_t CostOf(const std::vector<int64_t>& costs, UnitRange units) {
  int64_t sum = 0;
  for (int unit = units.first; unit < units.last; ++unit) sum += costs[unit];
  return sum;
}

int64_t DearestRank(const std::vector<int64_t>& costs, const std::vector<UnitRange>& ranges,
                    ScheduleKind kind, int ranks) {
  const auto holders = PlaceStages(kind, ranks);
  std::vector<int64_t> rank_costs(ranks);
  for (size_t stage = 0; stage < ranges.size(); ++stage) {
    for (const int rank : holders[stage]) rank_costs[rank] += CostOf(costs, ranges[stage]);
  }
  return *std::max_element(rank_costs.begin(), rank_costs.end());
}

double Squares(const std::vector<int64_t>& costs, const std::vector<UnitRange>& ranges) {
  double sum = 0.0;
  for (const UnitRange& range : ranges) {
    const auto cost = static_cast<double>(CostOf(costs, range));
    sum += cost * cost;
  }
  return sum;
}

// Calls `visit` with every way to cut.
void ForEachCut(int units, int stages,
                const std::function<void(const std::vector<UnitRange>&)>& visit) {
  std::vector<UnitRange> ranges;
  const std::function<void(int)> cut = [&](int first) {
    const int left = stages - static_cast<int>(ranges.size());
    if (left == 0) return visit(ranges);
    for (int last = left == 1 ? units : first + 1; last <= units - (left - 1); ++last) {
      ranges.push_back({first, last});
      cut(last);
      ranges.pop_back();
    }
  };
  cut(0);
}

using Rank = std::tuple<int64_t, double>;  // the dearest rank, the sum of squares

TEST(PartitionUnits, IsAsGoodAsTryingEverything) {
  Rng rng(11);
  for (int i = 0; i < 300; ++i) {
    const ScheduleKind kind = static_cast<ScheduleKind>(rng.Below(3));
    const int ranks = kind == ScheduleKind::kDualPipe ? 2 + 2 * static_cast<int>(rng.Below(2))
                                                      : 1 + static_cast<int>(rng.Below(4));
    const int stages = static_cast<int>(PlaceStages(kind, ranks).size());
    std::vector<int64_t> costs(stages + rng.Below(5));
    for (int64_t& cost : costs) cost = static_cast<int64_t>(rng.Below(i % 3 == 0 ? 3 : 20));
    const auto ranges = PartitionUnits(costs, kind, ranks);
    ASSERT_TRUE(ranges.ok());
    const auto rank = [&](const std::vector<UnitRange>& cut) {
      return Rank(DearestRank(costs, cut, kind, ranks), Squares(costs, cut));
    };
    Rank best(std::numeric_limits<int64_t>::max(), 0.0);
    ForEachCut(static_cast<int>(costs.size()), stages,
               [&](const std::vector<UnitRange>& cut) { best = std::min(best, rank(cut)); });
    EXPECT_EQ(rank(*ranges), best) << ScheduleName(kind) << " on " << ranks;
  }
}

TEST(PartitionUnits, CoversAllUnitsWithoutAnEmptyStage) {
  Rng rng(12);
  for (int i = 0; i < 200; ++i) {
    const ScheduleKind kind = static_cast<ScheduleKind>(rng.Below(3));
    const int ranks = 2 + 2 * static_cast<int>(rng.Below(8));
    const size_t stages = PlaceStages(kind, ranks).size();
    std::vector<int64_t> costs(stages + rng.Below(40));
    for (int64_t& cost : costs) cost = static_cast<int64_t>(rng.Below(1000));
    const auto ranges = PartitionUnits(costs, kind, ranks);
    ASSERT_TRUE(ranges.ok());
    ASSERT_EQ(ranges->size(), stages);
    int next = 0;
    for (const UnitRange& range : *ranges) {
      EXPECT_EQ(range.first, next);
      EXPECT_GT(range.last, range.first);
      next = range.last;
    }
    EXPECT_EQ(next, static_cast<int>(costs.size()));
  }
}

TEST(PartitionUnits, GivesAHeavyHeadFewerCompanions) {
  const std::vector<int64_t> costs = {1, 10, 10, 10, 10, 10, 10, 30};
  const auto ranges = PartitionUnits(costs, ScheduleKind::k1F1B, 3);
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ(ranges->back(), (UnitRange{7, 8}));
}

TEST(PartitionUnits, BalancesTheTwoStagesOfARankInAV) {
  // Rank 0 has the cheap start and the dear end of the row.
  const std::vector<int64_t> costs = {0, 10, 10, 10, 10, 10, 10, 20};
  const auto ranges = PartitionUnits(costs, ScheduleKind::kDualPipeV, 2);
  ASSERT_TRUE(ranges.ok());
  EXPECT_EQ(DearestRank(costs, *ranges, ScheduleKind::kDualPipeV, 2), 40);
}

TEST(PartitionUnits, RefusesMoreStagesThanUnitsWithTheRemedy) {
  const auto ranges = PartitionUnits({1, 1, 1}, ScheduleKind::kDualPipeV, 2);
  ASSERT_EQ(ranges.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ranges.status().message()),
              HasSubstr("dualpipev on 2 ranks has 4 stages, but the model has only 3 units"));
  EXPECT_THAT(std::string(ranges.status().message()), HasSubstr("raise model.num_hidden_layers"));
}

// Of equally good cuts of a row the last is the earliest, and so on to the first.
TEST(PartitionUnits, TiesGoToTheEarliestCut) {
  Rng rng(13);
  int ties = 0;
  for (int i = 0; i < 200; ++i) {
    const int ranks = 1 + static_cast<int>(rng.Below(4));
    std::vector<int64_t> costs(ranks + rng.Below(6));
    for (int64_t& cost : costs) cost = static_cast<int64_t>(rng.Below(3));
    std::vector<std::tuple<Rank, std::vector<int>>> all;
    ForEachCut(static_cast<int>(costs.size()), ranks, [&](const std::vector<UnitRange>& cut) {
      std::vector<int> firsts;
      for (const UnitRange& range : cut) firsts.insert(firsts.begin(), range.first);
      all.push_back(
          {Rank(DearestRank(costs, cut, ScheduleKind::k1F1B, ranks), Squares(costs, cut)), firsts});
    });
    const auto best = *std::min_element(all.begin(), all.end());
    ties += std::count_if(all.begin(), all.end(), [&best](const auto& other) {
              return std::get<0>(other) == std::get<0>(best);
            }) > 1;
    const auto ranges = PartitionUnits(costs, ScheduleKind::k1F1B, ranks);
    ASSERT_TRUE(ranges.ok());
    std::vector<int> given;
    for (const UnitRange& range : *ranges) {
      given.insert(given.begin(), range.first);
    }
    EXPECT_EQ(given, std::get<1>(best));
  }
  EXPECT_GT(ties, 50);
}

// Costs as large as the cost model makes them: 2^58 in all.
TEST(PartitionUnits, CutsTheLargestCosts) {
  for (const ScheduleKind kind : {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV}) {
    const std::vector<int64_t> costs(16, (int64_t{1} << 58) / 16);
    const auto ranges = PartitionUnits(costs, kind, 4);
    ASSERT_TRUE(ranges.ok());
    EXPECT_EQ(DearestRank(costs, *ranges, kind, 4), int64_t{1} << 56);
  }
}

TEST(PartitionUnits, CutsWhatCostsNothing) {
  for (const int units : {4, 5, 400}) {
    const std::vector<int64_t> costs(units, 0);
    const auto ranges = PartitionUnits(costs, ScheduleKind::kDualPipeV, 2);
    ASSERT_TRUE(ranges.ok());
    EXPECT_EQ(ranges->size(), 4u);
    EXPECT_EQ(ranges->back().last, units);
  }
}

TEST(PartitionUnits, GivesEachStageAUnitWhereThereAreNoMore) {
  const std::vector<int64_t> costs = {1, 100, 1, 1, 50, 1};
  for (const auto& [kind, ranks] : {std::pair{ScheduleKind::k1F1B, 6},
                                    {ScheduleKind::kDualPipeV, 3},
                                    {ScheduleKind::kDualPipe, 6}}) {
    const auto ranges = PartitionUnits(costs, kind, ranks);
    ASSERT_TRUE(ranges.ok());
    for (int stage = 0; stage < 6; ++stage) {
      EXPECT_EQ((*ranges)[stage], (UnitRange{stage, stage + 1})) << ScheduleName(kind);
    }
  }
}

// On both sides of the 300 units up to which the fold is searched: at most a part in 4,096 above the
// best of all pairs of outer cuts, and of the last fold the most even cut.
TEST(PartitionUnits, LongFoldsAreWithinTheirTolerance) {
  Rng rng(14);
  for (const int units : {299, 300, 301, 350}) {
    for (int i = 0; i < 10; ++i) {
      std::vector<int64_t> costs(units);
      for (int64_t& cost : costs) cost = static_cast<int64_t>(1 + rng.Below(1 + 100 * i));
      int64_t whole = 0;
      for (const int64_t cost : costs) whole += cost;
      // Rank 0 takes [0, left) and [right, units), rank 1 what is between.
      int64_t best = whole, outer_left = 0;
      for (int left = 1; left + 3 <= units; ++left) {
        outer_left += costs[left - 1];
        int64_t outer = outer_left;
        for (int right = units - 1; right >= left + 2; --right) {
          outer += costs[right];
          best = std::min(best, std::max(outer, whole - outer));
        }
      }
      const auto ranges = PartitionUnits(costs, ScheduleKind::kDualPipeV, 2);
      ASSERT_TRUE(ranges.ok());
      const int64_t dearest = DearestRank(costs, *ranges, ScheduleKind::kDualPipeV, 2);
      EXPECT_GE(dearest, best);
      EXPECT_LE(dearest, units <= 300 ? best : best + best / 4096 + 1) << units << " units";
      // The middle: no other cut makes the larger half smaller.
      const auto larger = [&](int cut) {
        return std::max(CostOf(costs, {(*ranges)[1].first, cut}),
                        CostOf(costs, {cut, (*ranges)[2].last}));
      };
      for (int cut = (*ranges)[1].first + 1; cut < (*ranges)[2].last; ++cut) {
        EXPECT_GE(larger(cut), larger((*ranges)[1].last));
      }
    }
  }
}

}  // namespace
}  // namespace birkhoff
