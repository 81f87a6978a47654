// One spec is one training, whatever the plan: schedules, ranks, recompute blocks, replicas and
// transports change the losses by rounding only, and the same plan gives the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/testing/figure.h"
#include "tests/testing/rank_threads.h"
#include "tests/testing/test_device.h"

namespace birkhoff {
namespace {

using testing::NewTestDirectory;
using testing::RunOptions;
using testing::RunRanks;
using testing::RunResult;
using testing::SmallJob;
using testing::TensorChecksums;

constexpr double kLossTolerance = 1e-5;  // relative
constexpr double kGainTolerance = 1e-6;  // relative
constexpr int kSteps = 30;

struct Variant {
  ScheduleKind schedule = ScheduleKind::k1F1B;
  int ranks = 1;
  int recompute = 0;
  int replicas = 1;
};

std::string NameOf(const Variant& variant) {
  return absl::StrCat(ScheduleName(variant.schedule), "_ranks", variant.ranks, "_recompute",
                      variant.recompute, "_replicas", variant.replicas);
}

// Runs of one directory of data; each run has its own output.
class Trainings {
 public:
  Trainings() : directory_(NewTestDirectory()), base_(SmallJob(directory_)) {
    base_.training.steps = kSteps;
    base_.training.validation_interval = kSteps;
    base_.checkpoint.interval = 0;
  }
  JobSpec& base() { return base_; }
  const std::string& output() const { return options_.directory; }

  RunResult Run(const Variant& variant, const std::string& transport = "local") {
    options_ = {};
    options_.spec = base_;
    options_.spec.parallelism.schedule = variant.schedule;
    options_.spec.parallelism.pipeline_parallel_degree = variant.ranks;
    options_.spec.parallelism.recompute = variant.recompute;
    options_.spec.parallelism.data_parallel_degree = variant.replicas;
    options_.directory = absl::StrCat(directory_, "/run", runs_++);
    options_.transport = transport;
    const RunResult result = RunRanks(options_);
    EXPECT_TRUE(result.status().ok()) << NameOf(variant) << ": " << result.status();
    return result;
  }
  // Weights and moments after the last step, as text.
  std::string Tensors() {
    return TensorChecksums(disk_, absl::StrCat(output(), "/checkpoints/step-000000", kSteps));
  }

 private:
  const std::string directory_;
  JobSpec base_;
  RunOptions options_;
  PosixDisk disk_;
  int runs_ = 0;
};

// On a GPU there is one rank, alone (test_device.h).
bool RunsHere(const Variant& variant) {
  return TestDeviceName() != "cuda" || variant.ranks * variant.replicas == 1;
}

double RelativeDifference(double a, double b) { return std::abs(a - b) / std::abs(b); }

double LargestDifference(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0.0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, RelativeDifference(a[i], b[i]));
  }
  return largest;
}

void ExpectSameTraining(const RunResult& result, const RunResult& reference,
                        const std::string& name) {
  ASSERT_EQ(result.losses().size(), reference.losses().size()) << name;
  const double difference = LargestDifference(result.losses(), reference.losses());
  EXPECT_LE(difference, kLossTolerance) << name;
  Worst("losses of 30 steps, any plan against one rank", difference);
}

class EquivalenceTest : public ::testing::TestWithParam<ResidualKind> {};

TEST_P(EquivalenceTest, EveryPlanIsTheSameTraining) {
  Trainings trainings;
  trainings.base().model.residual.kind = GetParam();
  const RunResult reference = trainings.Run({});
  ASSERT_EQ(reference.losses().size(), static_cast<size_t>(kSteps));
  EXPECT_LT(reference.losses().back(), reference.losses().front() - 0.3);
  std::vector<Variant> variants;
  for (const int replicas : {1, 2}) {
    for (const int recompute : {0, 3}) {
      for (const int ranks : {1, 2, 4}) {
        variants.push_back({ScheduleKind::k1F1B, ranks, recompute, replicas});
        variants.push_back({ScheduleKind::kDualPipeV, ranks, recompute, replicas});
        if (ranks == 1) continue;  // dualpipe has two directions
        variants.push_back({ScheduleKind::kDualPipe, ranks, recompute, replicas});
      }
    }
  }
  for (const Variant& variant : variants) {
    if (!RunsHere(variant)) continue;
    // All of them for the default connection; for the others a third, which one by one differ in
    // everything.
    if (GetParam() != ResidualKind::kMhc && (&variant - variants.data()) % 3 != 0) continue;
    const RunResult result = trainings.Run(variant);
    ExpectSameTraining(result, reference, NameOf(variant));
    const auto& last = result.reports.front().back();
    const auto& want = reference.reports.front().back();
    const double validation = RelativeDifference(*last.validation_loss, *want.validation_loss);
    EXPECT_LE(validation, kLossTolerance) << NameOf(variant);
    Worst("validation loss, any plan against one rank", validation);
    EXPECT_LE(RelativeDifference(last.grad_norm, want.grad_norm), 1e-3) << NameOf(variant);
  }
}

std::string KindName(const ::testing::TestParamInfo<ResidualKind>& instance) {
  switch (instance.param) {
    case ResidualKind::kResidual:
      return "residual";
    case ResidualKind::kHc:
      return "hc";
    case ResidualKind::kMhc:
      return "mhc";
  }
  return "";
}

INSTANTIATE_TEST_SUITE_P(Kinds, EquivalenceTest,
                         ::testing::Values(ResidualKind::kMhc, ResidualKind::kHc,
                                           ResidualKind::kResidual),
                         KindName);

TEST(SameBitsTest, OnePlanTwiceAndOverBothTransports) {
  Trainings trainings;
  for (const Variant& variant :
       {Variant{ScheduleKind::k1F1B, 2, 0, 2}, Variant{ScheduleKind::kDualPipeV, 4, 2, 1},
        Variant{ScheduleKind::kDualPipe, 4, 0, 1}, Variant{ScheduleKind::kDualPipeV, 1, 2, 1}}) {
    if (!RunsHere(variant)) continue;
    const RunResult first = trainings.Run(variant);
    const std::string tensors = trainings.Tensors();
    ASSERT_THAT(tensors, ::testing::HasSubstr("head.weight.adam_v "));
    const RunResult second = trainings.Run(variant);
    EXPECT_EQ(second.losses(), first.losses()) << NameOf(variant);
    EXPECT_EQ(trainings.Tensors(), tensors) << NameOf(variant);
    const RunResult gloo = trainings.Run(variant, "gloo");
    EXPECT_EQ(gloo.losses(), first.losses()) << NameOf(variant);
    EXPECT_EQ(trainings.Tensors(), tensors) << NameOf(variant);
  }
}

// Gains of every step over four stages and over one.  The weights must be the same, so the rate is
// almost nothing.
void ExpectSameGains(Trainings& trainings, double forward_above, double backward_above) {
  trainings.base().training.steps = 3;
  trainings.base().training.validation_interval = 0;
  trainings.base().optimizer.lr = 1e-12;
  trainings.base().lr_schedule.min_lr = 0.0;
  const RunResult one = trainings.Run({ScheduleKind::k1F1B, 1, 0, 1});
  for (const Variant& variant :
       {Variant{ScheduleKind::k1F1B, 4, 0, 1}, Variant{ScheduleKind::kDualPipeV, 2, 2, 2}}) {
    const RunResult four = trainings.Run(variant);
    ASSERT_EQ(four.reports.front().size(), one.reports.front().size());
    for (size_t i = 0; i < one.reports.front().size(); ++i) {
      const GainReport& a = four.reports.front()[i].gain;
      const GainReport& b = one.reports.front()[i].gain;
      EXPECT_GT(b.forward, forward_above);
      EXPECT_GT(b.backward, backward_above);
      using List = std::vector<double> GainReport::*;
      for (const List list :
           {&GainReport::forward_by_sublayer, &GainReport::backward_by_sublayer,
            &GainReport::single_forward_by_sublayer, &GainReport::single_backward_by_sublayer}) {
        const double difference = LargestDifference(a.*list, b.*list);
        EXPECT_LE(difference, kGainTolerance) << NameOf(variant);
        Worst("gains over ranks against one rank", difference);
      }
      for (double GainReport::*const field :
           {&GainReport::mean_matrix_forward, &GainReport::mean_matrix_backward,
            &GainReport::row_sum_min, &GainReport::column_sum_min}) {
        EXPECT_NEAR(a.*field, b.*field, kGainTolerance * std::max(1.0, std::abs(b.*field)))
            << NameOf(variant);
      }
    }
  }
}

TEST(CompositeGainTest, FourStagesAgreeWithOneForSinkhornFarFromIdentity) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  Trainings trainings;
  ResidualSpec& residual = trainings.base().model.residual;
  residual.alpha_init = 1.0;
  residual.phi_init_std = 0.5;  // logits of standard deviation 4: 64 inputs of unit mean square
  residual.bias_res_off_diagonal = 0.0;
  residual.sinkhorn_iterations = 3;  // columns are still far from 1
  residual.expand = ExpandKind::kOneHot;
  ExpectSameGains(trainings, 0.99, 1.1);
}

TEST(CompositeGainTest, FourStagesAgreeWithOneForSignedHcMatrices) {
  BIRKHOFF_SKIP_RANKS_ON_GPU();
  Trainings trainings;
  ResidualSpec& residual = trainings.base().model.residual;
  residual.kind = ResidualKind::kHc;
  residual.alpha_init = 1.0;
  residual.phi_init_std = 1.0;
  residual.expand = ExpandKind::kOneHot;
  ExpectSameGains(trainings, 5.0, 5.0);
}

}  // namespace
}  // namespace birkhoff
