// The agreed step result: sums, minima and decisions, folded from hand-made rows.
#include "worker/agree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "kernels/adamw.h"

namespace birkhoff {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// One block: units are the embedding, two sub-layers and the head; n = 2.
ModelSpec Model() {
  ModelSpec model;
  model.num_hidden_layers = 1;
  model.residual.streams = 2;
  return model;
}

class AgreeTest : public ::testing::Test {
 protected:
  // Two ranks: embedding and attention; feed-forward and head.
  AgreeTest() : rows_(2 * layout_.length()) {
    layout_.Clear(Row(0));
    layout_.Clear(Row(1));
    PutSubLayer(Row(0), 0, 1.0);
    PutSubLayer(Row(1), 1, 2.0);
    Row(1)[ShareLayout::kLoss] = 36.0;
    Row(1)[ShareLayout::kTargets] = 9.0;
    Row(0)[ShareLayout::kSquaredNorm] = 9.0;
    Row(1)[ShareLayout::kSquaredNorm] = 16.0;
  }

  std::span<double> Row(int rank) {
    return std::span<double>(rows_).subspan(rank * layout_.length(), layout_.length());
  }

  // Gains that are `scale` times a token count of 10.
  void PutSubLayer(std::span<double> row, int sublayer, double scale) const {
    PutGains(row, layout_.GainsAt(sublayer, GainOf::kSingle), {30 * scale, 40 * scale, 9.0, 9.0});
    PutGains(row, layout_.GainsAt(sublayer, GainOf::kPrefix),
             {10 * scale, 5000.0, 1.0 / scale, 0.01});
    PutGains(row, layout_.GainsAt(sublayer, GainOf::kSuffix),
             {6000.0, 20 * scale, 0.02, 0.5 / scale});
    PutMatrix(row, layout_.MatrixAt(sublayer, GainOf::kPrefix),
              {10 * scale, -30 * scale, 5.0, 5.0});
    PutMatrix(row, layout_.MatrixAt(sublayer, GainOf::kSuffix), {10 * scale, 0.0, 10 * scale, 1.0});
  }
  // In the order of ShareLayout::Gain.
  static void PutGains(std::span<double> row, int64_t at, const std::vector<double>& gains) {
    ASSERT_EQ(static_cast<int64_t>(gains.size()), ShareLayout::kGains);
    std::copy(gains.begin(), gains.end(), row.begin() + at);
  }
  void PutMatrix(std::span<double> row, int64_t at, const std::vector<double>& matrix) const {
    ASSERT_EQ(static_cast<int64_t>(matrix.size()), layout_.matrix_elements());
    std::copy(matrix.begin(), matrix.end(), row.begin() + at);
  }

  Agreement Agree() const { return FoldShares(layout_, rows_, /*total_tokens=*/10); }

  const ShareLayout layout_{Model()};
  std::vector<double> rows_;
};

TEST_F(AgreeTest, AddsLossTokensAndNorm) {
  const Agreement agreed = Agree();
  EXPECT_DOUBLE_EQ(agreed.loss, 4.0);
  EXPECT_EQ(agreed.target_tokens, 9);
  EXPECT_DOUBLE_EQ(agreed.grad_norm, 5.0);
  EXPECT_EQ(agreed.non_finite, 0);
  EXPECT_FALSE(agreed.skip);
}

TEST_F(AgreeTest, PutsSubLayersOfAllRanksInTheirPlaces) {
  const GainReport gain = Agree().gain;
  EXPECT_THAT(gain.forward_by_sublayer, ElementsAre(DoubleEq(1.0), DoubleEq(2.0)));
  EXPECT_THAT(gain.backward_by_sublayer, ElementsAre(DoubleEq(2.0), DoubleEq(4.0)));
  EXPECT_THAT(gain.single_forward_by_sublayer, ElementsAre(DoubleEq(3.0), DoubleEq(6.0)));
  EXPECT_THAT(gain.single_backward_by_sublayer, ElementsAre(DoubleEq(4.0), DoubleEq(8.0)));
  EXPECT_DOUBLE_EQ(gain.forward, 2.0);
  EXPECT_DOUBLE_EQ(gain.backward, 4.0);
}

TEST_F(AgreeTest, TakesMinimaOverRanksAndGainsOfMeanMatrices) {
  const GainReport gain = Agree().gain;
  EXPECT_DOUBLE_EQ(gain.row_sum_min, 0.5);
  EXPECT_DOUBLE_EQ(gain.column_sum_min, 0.25);
  // Forward: |20 - 60| / 10 by rows of the second; backward: (20 + 20) / 10 by columns.
  EXPECT_DOUBLE_EQ(gain.mean_matrix_forward, 4.0);
  EXPECT_DOUBLE_EQ(gain.mean_matrix_backward, 4.0);
}

TEST_F(AgreeTest, MeasuresOfMixingAreMeansOverTheSample) {
  const auto put = [&](int rank, int64_t at, const std::vector<double>& values) {
    std::copy(values.begin(), values.end(), Row(rank).begin() + at);
  };
  // Tokens; saturation, off-diagonal mass, column residual, read, write of sub-layer 0 and 1.
  put(0, layout_.OpenedAt(0), {4, 2, 1, 0.4, 0, 4});
  put(1, layout_.OpenedAt(1), {8, 6, 6, 1.6, 4, 0});
  // Tokens, distances, similarity; the second sub-layer's from both ranks.
  put(1, layout_.MergedAt(0), {4, 1, 2, 4});
  put(0, layout_.MergedAt(1), {2, 1, 1, 1});
  put(1, layout_.MergedAt(1), {2, 2, 3, 1});
  const MixingReport mixing = Agree().mixing.value();
  EXPECT_THAT(mixing.saturation_by_sublayer, ElementsAre(0.5f, 0.75f));
  EXPECT_THAT(mixing.off_diagonal_mass_by_sublayer, ElementsAre(0.25f, 0.75f));
  EXPECT_DOUBLE_EQ(mixing.column_residual, 0.2);
  EXPECT_DOUBLE_EQ(mixing.read_saturation.value(), 0.25);
  EXPECT_DOUBLE_EQ(mixing.write_saturation.value(), 0.5);
  EXPECT_THAT(mixing.identity_distance_by_sublayer, ElementsAre(0.25f, 0.75f));
  EXPECT_THAT(mixing.uniform_distance_by_sublayer, ElementsAre(0.5f, 1.0f));
  EXPECT_THAT(mixing.stream_similarity_by_sublayer, ElementsAre(1.0f, 0.5f));
  // A gate without ends has no saturation; a model of one stream is not mixed.
  Row(1)[layout_.OpenedAt(1) + ShareLayout::kWrite] = kNan;
  EXPECT_FALSE(Agree().mixing->write_saturation.has_value());
  ModelSpec plain = Model();
  plain.residual.kind = ResidualKind::kResidual;
  const ShareLayout one(plain);
  std::vector<double> row(one.length());
  one.Clear(row);
  EXPECT_FALSE(FoldShares(one, row, 10).mixing.has_value());
}

TEST_F(AgreeTest, WhatIsNotFiniteAnywhereSkipsEverywhere) {
  Row(0)[ShareLayout::kNonFinite] = 1.0;
  EXPECT_TRUE(Agree().skip);
  EXPECT_EQ(Agree().non_finite, 1);
  Row(0)[ShareLayout::kNonFinite] = 0.0;
  Row(1)[ShareLayout::kSquaredNorm] = kInfinity;
  EXPECT_TRUE(Agree().skip);
  Row(1)[ShareLayout::kSquaredNorm] = 1.0;
  EXPECT_FALSE(Agree().skip);
  Row(1)[ShareLayout::kLoss] = kNan;
  EXPECT_TRUE(Agree().skip);
}

// Hosts read from the rows what the devices have decided from them.
TEST_F(AgreeTest, SkipIsWhatTheDeviceDecides) {
  struct Case {
    int rank;
    int64_t at;
    double value;
    bool skip;
  };
  for (const Case& one : {Case{0, ShareLayout::kLoss, 0.0, false},
                          {0, ShareLayout::kLoss, kNan, true},
                          {1, ShareLayout::kLoss, kNan, true},
                          {1, ShareLayout::kLoss, kInfinity, true},
                          {0, ShareLayout::kLoss, -kInfinity, true},
                          {0, ShareLayout::kSquaredNorm, kInfinity, true},
                          {1, ShareLayout::kSquaredNorm, kInfinity, true},
                          {1, ShareLayout::kSquaredNorm, kNan, true},
                          {0, ShareLayout::kSquaredNorm, 1e300, false},
                          {0, ShareLayout::kNonFinite, 1.0, true},
                          {1, ShareLayout::kNonFinite, 12345.0, true},
                          {1, ShareLayout::kTargets, 0.0, false}}) {
    const std::vector<double> before = rows_;
    Row(one.rank)[one.at] = one.value;
    StepScalars decided;
    ASSERT_TRUE(cpu::DecideStep({.shares = rows_.data(),
                                 .ranks = 2,
                                 .length = layout_.length(),
                                 .clip_grad = 1.0,
                                 .step = &decided})
                    .ok());
    EXPECT_EQ(decided.skip != 0, one.skip) << "rank " << one.rank << " [" << one.at << "]";
    EXPECT_EQ(Agree().skip, one.skip) << "rank " << one.rank << " [" << one.at << "]";
    rows_ = before;
  }
}

// Issue item 17: a maximum or minimum over ranks and sub-layers loses nothing.
TEST_F(AgreeTest, WhatIsNotANumberIsNotLostInAFold) {
  const std::vector<double> before = rows_;
  for (const int rank : {0, 1}) {
    const auto put = [&](int64_t at) {
      rows_ = before;
      Row(rank)[at] = -kNan;
      return Agree();
    };
    for (const int sublayer : {0, 1}) {
      const int64_t prefix = layout_.GainsAt(sublayer, GainOf::kPrefix);
      const int64_t suffix = layout_.GainsAt(sublayer, GainOf::kSuffix);
      EXPECT_TRUE(std::isnan(put(prefix + ShareLayout::kForward).gain.forward));
      EXPECT_TRUE(std::isnan(put(suffix + ShareLayout::kBackward).gain.backward));
      EXPECT_TRUE(std::isnan(put(prefix + ShareLayout::kRowSumMin).gain.row_sum_min));
      EXPECT_TRUE(std::isnan(put(suffix + ShareLayout::kColumnSumMin).gain.column_sum_min));
      for (int64_t i = 0; i < layout_.matrix_elements(); ++i) {
        const int64_t forward = layout_.MatrixAt(sublayer, GainOf::kPrefix) + i;
        const int64_t backward = layout_.MatrixAt(sublayer, GainOf::kSuffix) + i;
        EXPECT_TRUE(std::isnan(put(forward).gain.mean_matrix_forward));
        EXPECT_TRUE(std::isnan(put(backward).gain.mean_matrix_backward));
      }
    }
    EXPECT_FALSE(std::signbit(put(ShareLayout::kLoss).loss)) << "-nan is never printed";
    EXPECT_FALSE(std::signbit(put(ShareLayout::kSquaredNorm).grad_norm));
  }
}

TEST_F(AgreeTest, ANormWithoutItsNonFiniteElementsIsNoNorm) {
  Row(0)[ShareLayout::kNonFinite] = 3.0;
  EXPECT_EQ(Agree().grad_norm, kInfinity);
  StepReport report;
  report.grad_norm = Agree().grad_norm;
  report.gain.forward = kNan;
  const std::string row = StepReportToJson(report);
  EXPECT_THAT(row, ::testing::HasSubstr("\"grad_norm\":null"));
  EXPECT_THAT(row, ::testing::HasSubstr("\"gain_forward\":null"));
}

TEST_F(AgreeTest, HoldersOfOneStageAddUp) {
  // DualPipe: both ranks have run the second stage on half of the micro-batches.
  PutSubLayer(Row(0), 1, 2.0);
  Row(0)[ShareLayout::kLoss] = 36.0;
  Row(0)[ShareLayout::kTargets] = 9.0;
  const Agreement agreed = Agree();
  EXPECT_EQ(agreed.target_tokens, 18);
  EXPECT_DOUBLE_EQ(agreed.loss, 4.0);
  EXPECT_DOUBLE_EQ(agreed.gain.forward_by_sublayer[1], 4.0);
  EXPECT_DOUBLE_EQ(agreed.gain.mean_matrix_forward, 8.0);
  EXPECT_DOUBLE_EQ(agreed.gain.row_sum_min, 0.5);
}

TEST_F(AgreeTest, StepWithoutTargetsHasNoLoss) {
  Row(1)[ShareLayout::kLoss] = Row(1)[ShareLayout::kTargets] = 0.0;
  EXPECT_EQ(Agree().loss, 0.0);
  EXPECT_FALSE(Agree().skip);
}

TEST(AgreementTest, NothingAgreedMeansSkip) { EXPECT_TRUE(Agreement().skip); }

TEST(HostAgreementTest, BubbleIsIdleTimeUntilTheLastRankIsDone) {
  const HostShare shares[] = {{0.0, 60, 100}, {0.0, 90, 200}};
  EXPECT_DOUBLE_EQ(FoldHostShares(shares).bubble, 1.0 - 150.0 / 400.0);
  EXPECT_FALSE(FoldHostShares(shares).stop);
}

TEST(HostAgreementTest, ExposedTransfersAreAShareOfTheLongestSpan) {
  const HostShare shares[] = {{0.0, 60, 100, 10, 120}, {0.0, 90, 200, 50, 240}};
  EXPECT_DOUBLE_EQ(FoldHostShares(shares).exposed_transfer, 60.0 / 480.0);
}

TEST(HostAgreementTest, BubbleStaysBetweenNothingAndAll) {
  const HostShare idle[] = {{0.0, 0, 0}, {0.0, 0, 0}};
  EXPECT_EQ(FoldHostShares(idle).bubble, 0.0);
  const HostShare two_streams[] = {{0.0, 180, 100}};  // busy at once
  EXPECT_EQ(FoldHostShares(two_streams).bubble, 0.0);
}

TEST(HostAgreementTest, AnyRankStopsAll) {
  for (const int rank : {0, 1, 2}) {
    HostShare shares[3];
    shares[rank].stop = 1.0;
    EXPECT_TRUE(FoldHostShares(shares).stop);
  }
}

}  // namespace
}  // namespace birkhoff
