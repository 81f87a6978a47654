// Figures as JSON, and how long ones are thinned.
#include "coordinator/page/figure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace birkhoff {
namespace {

TEST(Figure, ThinningKeepsPeaksAsSpread) {
  std::vector<double> x, y;
  for (int i = 0; i < 50'000; ++i) {
    x.push_back(i);
    y.push_back(i % 7);
  }
  y[31'415] = 1e6;
  y[27'182] = -1e6;
  const Json figure = LineFigure({"a", "", ""}, {"step"}, {"loss"}, x, {{"mhc", y}});
  EXPECT_LE(figure["x"].size(), kMostPoints);
  EXPECT_EQ(figure["x"].front(), 24.0);
  EXPECT_EQ(figure["x"].back(), 49'999.0);
  const std::vector<double> mean = figure["lines"][0]["y"], low = figure["lines"][0]["low"],
                            high = figure["lines"][0]["high"];
  EXPECT_EQ(mean.size(), figure["x"].size());
  EXPECT_NEAR(mean[0], 3.0, 0.5);  // of 0 to 6
  EXPECT_EQ(low[0], 0.0);
  EXPECT_EQ(high[0], 6.0);
  EXPECT_EQ(*std::ranges::max_element(high), 1e6);
  EXPECT_EQ(*std::ranges::min_element(low), -1e6);
}

// Beside the stretch that is looked at the line stays as coarse as it was, so that one finds back.
TEST(Figure, TheStretchThatIsLookedAtIsFiner) {
  std::vector<double> x, y;
  for (int i = 0; i < 1000; ++i) x.push_back(i), y.push_back(i % 7);
  const Json figure =
      LineFigure({}, {}, {}, x, {{"a", y}}, {.points = 100, .first = 400, .last = 449});
  const std::vector<double> kept = figure["x"], values = figure["lines"][0]["y"];
  ASSERT_EQ(kept.size(), 40 + 50 + 55u);
  EXPECT_EQ(kept[39], 399.0);
  EXPECT_EQ(kept[40], 400.0);
  EXPECT_EQ(kept[89], 449.0);
  EXPECT_EQ(kept[90], 459.0);
  EXPECT_EQ(values[41], 401 % 7);
  EXPECT_EQ(kept.back(), 999.0);
}

TEST(Figure, AStretchWithoutPointsChangesNothing) {
  const std::vector<double> x = {1, 2, 3, 4};
  const Json whole = LineFigure({}, {}, {}, x, {{"a", x}}, {.points = 2});
  for (const Detail& detail : {Detail{2, 9, 10}, Detail{2, 3, 2}, Detail{2, -2, -1}}) {
    EXPECT_EQ(LineFigure({}, {}, {}, x, {{"a", x}}, detail)["x"].back(), whole["x"].back());
  }
}

TEST(Figure, ShortOnesStayAsTheyAreAndGapsAreNull) {
  const Json figure =
      LineFigure({"a b", "", ""}, {"step"}, {"gain", true}, {1, 2, 3}, {{"hc", {1, NAN, 3}}});
  EXPECT_EQ(figure.dump(),
            R"({"id":"a-b","type":"lines","title":"","caption":"","x_axis":{"label":"step",)"
            R"("log":false},"y_axis":{"label":"gain","log":true},"x":[1.0,2.0,3.0],)"
            R"("lines":[{"label":"hc","y":[1.0,null,3.0]}]})");
}

TEST(Figure, AStretchWithoutNumbersIsAGapAfterThinningToo) {
  std::vector<double> x(2 * kMostPoints), y(2 * kMostPoints, NAN);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  y.back() = 5.0;
  const Json kept = LineFigure({}, {}, {}, x, {{"a", y}})["lines"][0]["y"];
  EXPECT_TRUE(std::isnan(kept.front().get<double>()));
  EXPECT_EQ(kept.back(), 5.0);
}

}  // namespace
}  // namespace birkhoff
