// Partitions against brute force, and the cost model that feeds them.
#include "core/plan/partition.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/cost_model.h"
#include "core/plan/schedule.h"
#include "core/spec/product_rate.h"
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

// Every way to cut, tried out.
int64_t BestDearestRank(const std::vector<int64_t>& costs, ScheduleKind kind, int ranks) {
  const int stages = static_cast<int>(PlaceStages(kind, ranks).size());
  const int units = static_cast<int>(costs.size());
  int64_t best = std::numeric_limits<int64_t>::max();
  std::vector<UnitRange> ranges;
  const std::function<void(int)> cut = [&](int first) {
    const int left = stages - static_cast<int>(ranges.size());
    if (left == 1) {
      ranges.push_back({first, units});
      best = std::min(best, DearestRank(costs, ranges, kind, ranks));
      ranges.pop_back();
      return;
    }
    for (int last = first + 1; last <= units - (left - 1); ++last) {
      ranges.push_back({first, last});
      cut(last);
      ranges.pop_back();
    }
  };
  cut(0);
  return best;
}

TEST(PartitionUnits, IsAsGoodAsTryingEverything) {
  Rng rng(11);
  for (int i = 0; i < 300; ++i) {
    const ScheduleKind kind = static_cast<ScheduleKind>(rng.Below(3));
    const int ranks = kind == ScheduleKind::kDualPipe ? 2 + 2 * static_cast<int>(rng.Below(2))
                                                      : 1 + static_cast<int>(rng.Below(4));
    const int stages = static_cast<int>(PlaceStages(kind, ranks).size());
    std::vector<int64_t> costs(stages + rng.Below(5));
    for (int64_t& cost : costs) cost = static_cast<int64_t>(1 + rng.Below(20));
    const auto ranges = PartitionUnits(costs, kind, ranks);
    ASSERT_TRUE(ranges.ok());
    const int64_t given = DearestRank(costs, *ranges, kind, ranks);
    const int64_t best = BestDearestRank(costs, kind, ranks);
    EXPECT_EQ(given, best) << ScheduleName(kind) << " on " << ranks;
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

TEST(CostModel, WeighsTheHeadByItsVocabulary) {
  JobSpec spec = SmallSpec({});
  const int head = NumUnits(spec.model) - 1;
  const int64_t small = CostModel(spec, {}).OfUnit(head).Total();
  spec.model.vocab_size = 16000;
  EXPECT_GT(CostModel(spec, {}).OfUnit(head).Total(), 20 * small);
}

TEST(CostModel, DefersTheProductsOnly) {
  JobSpec spec = SmallSpec({});
  spec.model.hidden_size = 256;
  spec.training.sequence_length = 1024;
  const ComputeCost attention = CostModel(spec, {}).OfUnit(1);
  EXPECT_LT(attention.backward_weight, attention.forward);
  EXPECT_GT(attention.backward_input, attention.forward);
  EXPECT_LT(attention.recompute, attention.forward);
}

// All that its backward pass has left is to hand the gradient to the streams.
TEST(CostModel, TheHeadDoesItsProductsInItsForward) {
  JobSpec spec = SmallSpec({});
  spec.model.vocab_size = 16000;
  const ComputeCost head = CostModel(spec, {}).OfUnit(NumUnits(spec.model) - 1);
  EXPECT_GT(head.forward, 100 * head.backward_input);
  EXPECT_EQ(head.backward_weight, 0);
}

TEST(CostModel, AGpuComputesFasterThanItMoves) {
  JobSpec spec = SmallSpec({});
  spec.model.hidden_size = 1024;
  const CostModel cpu(spec, {});
  const CostModel fp32(spec, {}, {Processor::kCuda, Precision::kFp32});
  const CostModel bf16(spec, {}, {Processor::kCuda, Precision::kBf16});
  EXPECT_GT(cpu.OfUnit(2).forward, 100 * fp32.OfUnit(2).forward);
  EXPECT_GT(fp32.OfUnit(2).forward, bf16.OfUnit(2).forward);
  EXPECT_EQ(bf16.CopyNs(3'000'000'000), 1'000'000);
  EXPECT_EQ(cpu.CopyNs(3'000'000'000), 200'000'000);
}

// The workers' own word on their products; one that says nothing is a core with AVX2.
TEST(CostModel, AStepIsAsFastAsItsSlowestWorker) {
  const JobSpec spec = SmallSpec({});
  const auto forward_with = [&spec](std::vector<double> rates) {
    ClusterSpec cluster;
    for (const double rate : rates) {
      cluster.workers.push_back({.name = "workers/w", .product_flops = rate});
    }
    return CostModel(spec, cluster).OfUnit(2).forward;
  };
  const int64_t silent = forward_with({});
  EXPECT_EQ(forward_with({0.0, std::nan("")}), silent);
  EXPECT_EQ(forward_with({ProductRate(Isa::kAvx512), 0.0}), silent);
  const int64_t slow = forward_with({ProductRate(Isa::kAvx512), ProductRate(Isa::kBaseline)});
  EXPECT_NEAR(double(slow) / double(silent), ProductRate(Isa::kAvx2) / ProductRate(Isa::kBaseline),
              0.01);
  EXPECT_LT(forward_with({ProductRate(Isa::kAvx512)}), silent);
}

// What was measured for another shape is of no use.
TEST(CostModel, TakesWhatWasMeasuredForItsShape) {
  const JobSpec spec = SmallSpec({.layers = 2});
  ClusterSpec cluster;
  cluster.card.emplace().by_shape["another"].first.forward = 7;
  EXPECT_EQ(CostModel(spec, cluster).UnitTotals(), CostModel(spec, {}).UnitTotals());
  EXPECT_EQ(CostModel(spec, cluster).NormNs(1000), 0);
  cluster.card->by_shape[ShapeKey(spec, {})] = {.first = {1, 2, 3, 4},
                                                .attention = {10, 20, 30, 40},
                                                .feed_forward = {100, 200, 300, 400},
                                                .head = {1000, 2000, 3000, 4000},
                                                .norm_ns = 0.5,
                                                .update_ns = 0.25};
  const CostModel costs(spec, cluster);
  EXPECT_EQ(costs.UnitTotals(), (std::vector<int64_t>{0, 6, 600, 60, 600, 6000}));
  EXPECT_EQ(costs.OfUnits({1, 3}).recompute, 404);
  EXPECT_EQ(costs.OfUnit(5).backward_input, 2000);
  EXPECT_EQ(costs.NormNs(1000), 500);
  EXPECT_EQ(costs.UpdateNs(1000), 250);
}

TEST(CostModel, ScalesWithTheRates) {
  const JobSpec spec = SmallSpec({});
  const CostModel slow(spec, {});
  const CostModel fast(spec, {.workers = {},
                              .flops_per_second = 2.0e13,
                              .link_bytes_per_second = 1.0e11,
                              .link_latency_seconds = 0.0});
  EXPECT_GT(slow.OfUnit(2).forward, 50 * fast.OfUnit(2).forward);
  EXPECT_EQ(slow.TransferNs(1000000), 50000 + 1000000);
  EXPECT_EQ(fast.TransferNs(1000000), 10000);
  EXPECT_EQ(slow.AllReduceNs(1000, 1), 0);
  // Two steps of half the bytes each.
  EXPECT_EQ(slow.AllReduceNs(1000, 2), 2 * 50000 + 1000);
}

}  // namespace
}  // namespace birkhoff
