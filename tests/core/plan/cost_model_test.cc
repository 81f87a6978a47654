// Times of units, transfers and collectives: by hand from the header, and at the limits.
#include "core/plan/cost_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/plan/tables.h"
#include "core/spec/model.h"
#include "core/spec/product_rate.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

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

// ---- By hand.

// What a unit of a spec takes, added up as the header says it, in seconds.
struct Seconds {
  double forward = 0, backward_input = 0, backward_weight = 0, recompute = 0;
};

Seconds ByHand(const JobSpec& spec, int unit, double flops_per_second, double balance,
               double element_bytes) {
  const ModelSpec& m = spec.model;
  const double tokens = spec.training.micro_batch_size * double{1} * spec.training.sequence_length;
  const double n = NumStreams(m), width = m.hidden_size;
  const double head_size = width / m.num_attention_heads;
  // The projection of n streams, and ten passes over four of them.
  const double boundary = 2.0 * n * width * NumProjectionColumns(m) +
                          10.0 * width * (n / 4.0) * element_bytes * balance;
  const double each = tokens / flops_per_second;
  const int last = 2 * m.num_hidden_layers + 1;
  if (unit == last) {
    const double products = 2.0 * width * m.vocab_size, softmax = 10.0 * m.vocab_size;
    return {each * (3.0 * products + 3.5 * softmax + boundary), each * 2.5 * boundary, 0,
            each * boundary};
  }
  double products = 0, core = 0;
  if (unit % 2 == 1) {
    const double heads = m.num_attention_heads + 2.0 * m.num_key_value_heads;
    products = 2.0 * width * heads * head_size + 2.0 * width * m.num_attention_heads * head_size;
    // Scores and sums of values: half of them are masked.
    core = 0.5 * 2.0 * 2.0 * spec.training.sequence_length * m.num_attention_heads * head_size;
  } else if (unit > 0) {
    products = 3.0 * 2.0 * width * m.intermediate_size;
  }
  return {each * (products + core + boundary), each * (products + 2.5 * (core + boundary)),
          each * products, each * boundary};
}

TEST(CostModel, IsWhatTheHeaderSays) {
  Rng rng(71);
  for (int i = 0; i < 50; ++i) {
    JobSpec spec = SmallSpec({.layers = 1 + static_cast<int>(rng.Below(3))});
    ModelSpec& model = spec.model;
    model.num_attention_heads = 1 << rng.Below(3);
    model.num_key_value_heads = 1;
    model.hidden_size = 8 * model.num_attention_heads * static_cast<int>(1 + rng.Below(8));
    model.intermediate_size = static_cast<int>(1 + rng.Below(1000));
    model.vocab_size = static_cast<int>(1 + rng.Below(50000));
    model.residual.streams = static_cast<int>(1 + rng.Below(8));
    model.residual.kind = static_cast<ResidualKind>(rng.Below(3));
    spec.training.sequence_length = static_cast<int>(1 + rng.Below(2000));
    spec.training.micro_batch_size = static_cast<int>(1 + rng.Below(4));
    const bool bf16 = rng.Below(2) == 0;
    ClusterSpec cluster;
    if (rng.Below(2) == 0) cluster.flops_per_second = 1e9 * (1.0 + 1000.0 * rng.Uniform());
    const CostModel costs = bf16 ? CostModel(spec, cluster, {Processor::kCuda, Precision::kBf16})
                                 : CostModel(spec, cluster);
    const double rate = bf16 ? 4.0e14 : ProductRate(Isa::kAvx2);
    const double balance = rate / (bf16 ? 3.0e12 : 1.5e10);
    for (int unit = 0; unit < NumUnits(model); ++unit) {
      const Seconds seconds =
          ByHand(spec, unit, cluster.flops_per_second.value_or(rate), balance, bf16 ? 2.0 : 4.0);
      const ComputeCost& cost = costs.OfUnit(unit);
      const auto expect = [&](int64_t given, double expected, const char* what) {
        EXPECT_NEAR(static_cast<double>(given), 1e9 * expected, 0.51 + 1e-3 * expected)
            << what << " of unit " << unit << " of " << NumUnits(model);
      };
      expect(cost.forward, seconds.forward, "forward");
      expect(cost.backward_input, seconds.backward_input, "backward-input");
      expect(cost.backward_weight, seconds.backward_weight, "backward-weight");
      expect(cost.recompute, seconds.recompute, "recompute");
    }
  }
}

TEST(CostModel, AddsUpUnits) {
  const JobSpec spec = SmallSpec({.layers = 3});
  const CostModel costs(spec, {});
  ComputeCost sum;
  for (int unit = 2; unit < 7; ++unit) {
    sum.forward += costs.OfUnit(unit).forward;
    sum.backward_input += costs.OfUnit(unit).backward_input;
    sum.backward_weight += costs.OfUnit(unit).backward_weight;
    sum.recompute += costs.OfUnit(unit).recompute;
    EXPECT_EQ(costs.UnitTotals()[unit], costs.OfUnit(unit).forward +
                                            costs.OfUnit(unit).backward_input +
                                            costs.OfUnit(unit).backward_weight);
  }
  const ComputeCost given = costs.OfUnits({2, 7});
  EXPECT_EQ(given.forward, sum.forward);
  EXPECT_EQ(given.backward_input, sum.backward_input);
  EXPECT_EQ(given.backward_weight, sum.backward_weight);
  EXPECT_EQ(given.recompute, sum.recompute);
  EXPECT_EQ(costs.OfUnits({4, 4}).Total(), 0);
}

// A ring: p - 1 steps to add up, p - 1 to tell, each with a p-th of the bytes.
TEST(CostModel, AnAllReduceIsARing) {
  ClusterSpec cluster;
  cluster.link_bytes_per_second = 2.0e9;
  cluster.link_latency_seconds = 3.0e-6;
  const CostModel costs(SmallSpec({}), cluster);
  for (int members = 1; members <= 9; ++members) {
    for (const int64_t bytes : {0, 1, 1000, 123456789}) {
      double seconds = 0.0;
      for (int step = 0; step < 2 * (members - 1); ++step) {
        seconds += 3.0e-6 + static_cast<double>(bytes) / members / 2.0e9;
      }
      EXPECT_NEAR(static_cast<double>(costs.AllReduceNs(bytes, members)), 1e9 * seconds, 1.0);
    }
  }
  EXPECT_EQ(costs.AllReduceNs(1000, 0), 0);
  EXPECT_EQ(costs.TransferNs(0), 3000);
  EXPECT_EQ(costs.TransferNs(2000), 4000);
}

// Weights, gradients and both moments are read and written, 4 bytes each.
TEST(CostModel, AnUpdateMovesItsState) {
  const CostModel costs(SmallSpec({}), {});
  EXPECT_EQ(costs.UpdateNs(1'000'000), costs.CopyNs(2 * 4 * 4 * 1'000'000));
  EXPECT_EQ(costs.UpdateNs(0), 0);
  EXPECT_EQ(costs.NormNs(int64_t{1} << 40), 0) << "in the update where it is not measured";
}

// ---- At the limits.

// No cost is above what a step has room for, so that no sum over one overflows.
TEST(CostModel, SaturatesWhereAStepWouldOverflow) {
  for (const SmallJob& job : {SmallJob{.ranks = 1, .microbatches = 1, .layers = 1},
                              SmallJob{.microbatches = 1000, .layers = 20}}) {
    JobSpec spec = SmallSpec(job);
    spec.training.validation_batches = 5;
    ClusterSpec slow;
    slow.flops_per_second = 1e-300;
    slow.link_bytes_per_second = 1e-300;
    slow.link_latency_seconds = 1e300;
    const CostModel costs(spec, slow);
    const int64_t runs = job.microbatches + 5 + 1;
    const int64_t largest = (int64_t{1} << 58) / (NumUnits(spec.model) * runs);
    const auto is_largest = [largest](int64_t cost) { EXPECT_NEAR(cost, largest, 1.0); };
    is_largest(costs.OfUnit(2).forward);
    is_largest(costs.OfUnit(2).backward_input);
    is_largest(costs.OfUnit(2).backward_weight);
    is_largest(costs.OfUnit(2).recompute);
    is_largest(costs.TransferNs(1));
    is_largest(costs.AllReduceNs(0, 2));
    is_largest(costs.CopyNs(1));
    is_largest(costs.UpdateNs(1));
    // All units' passes of all micro-batches, and as much again.
    double step = 0.0;
    for (const int64_t total : costs.UnitTotals()) step += static_cast<double>(total) * runs;
    EXPECT_LT(2.0 * step, 0x1p63);
  }
}

TEST(CostModel, OfNothingIsNothing) {
  ClusterSpec fast;
  fast.flops_per_second = 1e300;
  fast.link_bytes_per_second = 1e300;
  fast.link_latency_seconds = 0.0;
  const CostModel costs(SmallSpec({}), fast);
  for (const int64_t total : costs.UnitTotals()) EXPECT_EQ(total, 0);
  EXPECT_EQ(costs.TransferNs(int64_t{1} << 62), 0);
  EXPECT_EQ(costs.AllReduceNs(int64_t{1} << 62, 1024), 0);
}

}  // namespace
}  // namespace birkhoff
