// The row that a rank brings to the end of a step: every double has one place.
#include "core/spec/step_share.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace birkhoff {
namespace {

ModelSpec Model(ResidualKind kind, int layers, int streams) {
  ModelSpec model;
  model.num_hidden_layers = layers;
  model.residual.kind = kind;
  model.residual.streams = streams;
  return model;
}

// How often each double of the row belongs to something.
std::vector<int> Covered(const ShareLayout& layout) {
  std::vector<int> row(static_cast<size_t>(layout.length()));
  const auto cover = [&row](int64_t at, int64_t count) {
    for (int64_t i = at; i < at + count; ++i) ++row.at(static_cast<size_t>(i));
  };
  cover(0, ShareLayout::kHead);
  for (int l = 0; l < layout.num_sublayers(); ++l) {
    for (const GainOf of : {GainOf::kSingle, GainOf::kPrefix, GainOf::kSuffix}) {
      cover(layout.GainsAt(l, of), ShareLayout::kGains);
    }
    cover(layout.MatrixAt(l, GainOf::kPrefix), layout.matrix_elements());
    cover(layout.MatrixAt(l, GainOf::kSuffix), layout.matrix_elements());
    cover(layout.OpenedAt(l), ShareLayout::kOpened);
    cover(layout.MergedAt(l), ShareLayout::kMerged);
  }
  return row;
}

TEST(ShareLayout, EveryDoubleHasOneOwner) {
  for (const ResidualKind kind : {ResidualKind::kResidual, ResidualKind::kHc, ResidualKind::kMhc}) {
    for (const int layers : {1, 3}) {
      for (const int streams : {1, 2, 8}) {
        const ShareLayout layout(Model(kind, layers, streams));
        const std::vector<int> row = Covered(layout);
        EXPECT_EQ(row, std::vector<int>(row.size(), 1)) << layers << " " << streams;
      }
    }
  }
}

// The kernels write these places (kernels/gain.h, kernels/mixing.h), so they stand here in numbers.
TEST(ShareLayout, PlacesOfTwoStreamsByHand) {
  const ShareLayout layout(Model(ResidualKind::kMhc, 1, 2));
  EXPECT_EQ(layout.num_sublayers(), 2);
  EXPECT_EQ(layout.matrix_elements(), 4);
  EXPECT_EQ(layout.length(), 4 + 2 * 30);
  EXPECT_EQ(layout.GainsAt(0, GainOf::kSingle), 4);
  EXPECT_EQ(layout.GainsAt(0, GainOf::kPrefix), 8);
  EXPECT_EQ(layout.GainsAt(0, GainOf::kSuffix), 12);
  EXPECT_EQ(layout.MatrixAt(0, GainOf::kPrefix), 16);
  EXPECT_EQ(layout.MatrixAt(0, GainOf::kSuffix), 20);
  EXPECT_EQ(layout.OpenedAt(0), 24);
  EXPECT_EQ(layout.MergedAt(0), 30);
  EXPECT_EQ(layout.GainsAt(1, GainOf::kSingle), 34);
  EXPECT_EQ(layout.MergedAt(1), 60);
}

TEST(ShareLayout, ThePlainResidualHasOneStream) {
  EXPECT_EQ(ShareLayout(Model(ResidualKind::kResidual, 2, 8)).matrix_elements(), 1);
  EXPECT_EQ(ShareLayout(Model(ResidualKind::kHc, 2, 8)).matrix_elements(), 64);
}

TEST(ShareLayout, AStepStartsFromZerosAndMinimaFromInfinity) {
  const ShareLayout layout(Model(ResidualKind::kMhc, 2, 3));
  std::vector<double> row(static_cast<size_t>(layout.length()), std::nan(""));
  layout.Clear(row);
  std::vector<double> want(row.size(), 0.0);
  for (int l = 0; l < 4; ++l) {
    for (const GainOf of : {GainOf::kSingle, GainOf::kPrefix, GainOf::kSuffix}) {
      want[static_cast<size_t>(layout.GainsAt(l, of) + 2)] =
          want[static_cast<size_t>(layout.GainsAt(l, of) + 3)] =
              std::numeric_limits<double>::infinity();
    }
  }
  EXPECT_EQ(row, want);
}

}  // namespace
}  // namespace birkhoff
