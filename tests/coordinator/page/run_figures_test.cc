// The figures of runs with numbers made by hand.
#include "coordinator/page/run_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::Pointwise;

RunSeries MakeRun(const std::string& name, ResidualKind kind, uint64_t seed, double loss,
                  double gain) {
  RunSeries run;
  run.name = name;
  run.spec.model.vocab_size = 257;
  run.spec.model.residual.kind = kind;
  run.spec.model.num_hidden_layers = 1;
  run.spec.training.seed = seed;
  for (int step = 1; step <= 3; ++step) {
    const double now = gain * step;
    AddRow(
        absl::StrCat(R"({"step":)", step, R"(,"loss":)", loss - step, R"(,"grad_norm":1,)",
                     R"("gain_forward_by_sublayer":[1,)", now, R"(],"gain_backward_by_sublayer":[)",
                     now, R"(,1],"fresh_measure":)", step, "}"),
        &run);
  }
  return run;
}

std::vector<RunSeries> Comparison() {
  std::vector<RunSeries> runs = {MakeRun("plain-1", ResidualKind::kResidual, 1, 10, 1),
                                 MakeRun("plain-2", ResidualKind::kResidual, 2, 12, 1),
                                 MakeRun("hc-1", ResidualKind::kHc, 1, 9.5, 100),
                                 MakeRun("hc-2", ResidualKind::kHc, 2, 10.5, 10'000)};
  LabelRuns(&runs);
  return runs;
}

std::vector<Json> FiguresOf(const std::vector<RunSeries>& runs, const FigureRequest& request = {}) {
  return RunFigures(ListOf(runs), request);
}

Json Find(const std::vector<Json>& figures, const std::string& id) {
  for (const Json& figure : figures) {
    if (figure["id"] == id) return figure;
  }
  ADD_FAILURE() << "no figure " << id;
  return Json();
}

std::vector<std::string> Ids(const std::vector<Json>& figures) {
  std::vector<std::string> ids;
  for (const Json& figure : figures) ids.push_back(figure["id"]);
  return ids;
}

TEST(RunFigures, MeanAndSpreadOverSeeds) {
  const std::vector<Json> figures = FiguresOf(Comparison());
  const Json loss = Find(figures, "loss");
  EXPECT_EQ(loss["x"], Json({1.0, 2.0, 3.0}));
  ASSERT_EQ(loss["lines"].size(), 2);
  EXPECT_EQ(
      loss["lines"][0].dump(),
      R"({"label":"residual","y":[10.0,9.0,8.0],"low":[9.0,8.0,7.0],"high":[11.0,10.0,9.0]})");
}

TEST(RunFigures, TheGapIsTakenFromThePlainRunOfTheSameSeed) {
  const std::vector<Json> figures = FiguresOf(Comparison());
  const Json gap = Find(figures, "loss-gap");
  ASSERT_EQ(gap["lines"].size(), 1);
  EXPECT_EQ(gap["lines"][0].dump(), R"({"label":"hc","y":[-1.0,-1.0,-1.0],)"
                                    R"("low":[-1.5,-1.5,-1.5],"high":[-0.5,-0.5,-0.5]})");
}

TEST(RunFigures, GainsOverDepthAreOfTheLastStepWithGeometricMeans) {
  const std::vector<Json> figures = FiguresOf(Comparison());
  const Json forward = Find(figures, "composite-forward");
  EXPECT_EQ(forward["x"], Json({0.0, 1.0}));
  const std::vector<double> hc = forward["lines"][1]["y"];
  EXPECT_THAT(hc, Pointwise(testing::DoubleNear(1e-9), {1.0, 3000.0}));  // of 300 and 30,000
  EXPECT_THAT(Ids(figures),
              IsSupersetOf({"composite-forward-largest", "heat-composite-forward-hc-1"}));
  EXPECT_THAT(Ids(figures), Not(testing::Contains("heat-composite-forward-plain-1")));
}

TEST(RunFigures, AKeyThatNobodyKnowsIsDrawnUnderItsName) {
  const std::vector<Json> figures = FiguresOf(Comparison());
  EXPECT_EQ(Find(figures, "fresh-measure")["title"], "Fresh measure");
}

TEST(RunFigures, SpreadLeavesOutWhatIsMissing) {
  const Line line = SpreadLine("a", {{1, NAN, NAN}, {3, 5, NAN}}, false);
  EXPECT_EQ(line.y[0], 2.0);
  EXPECT_EQ(line.y[1], 5.0);
  EXPECT_TRUE(std::isnan(line.y[2]) && std::isnan(line.low[2]) && std::isnan(line.high[2]));
}

TEST(RunFigures, WhatNobodyAsksForIsAHeading) {
  const std::vector<RunSeries> runs = Comparison();
  const std::vector<Json> all = FiguresOf(runs);
  const std::vector<Json> some = FiguresOf(runs, {2, {{"grad-norm", {}}, {"nobody", {}}}});
  EXPECT_EQ(Ids(some), Ids(all));
  for (size_t i = 0; i < all.size(); ++i) {
    const bool asked = i < 2 || all[i]["id"] == "grad-norm";
    if (asked) {
      EXPECT_EQ(some[i].dump(), all[i].dump());  // NaN is null there
      continue;
    }
    EXPECT_EQ(some[i]["stub"], true);
    for (const char* key : {"id", "type", "title", "caption"}) EXPECT_EQ(some[i][key], all[i][key]);
    for (const char* key : {"x", "z", "lines", "matrices", "rows"}) {
      EXPECT_FALSE(some[i].contains(key)) << some[i]["id"] << " has " << key;
    }
  }
}

TEST(RunFigures, RunsWithoutRowsHaveASummaryAndWhatFollowsFromTheirSpecs) {
  std::vector<RunSeries> runs(1);
  runs[0].name = "new";
  runs[0].spec.model.vocab_size = 257;
  LabelRuns(&runs);
  EXPECT_THAT(Ids(FiguresOf(runs)), ElementsAre("summary", "traffic", "recompute-new"));
  EXPECT_THAT(RunFigures({}), IsEmpty());
}

TEST(RunFigures, MatricesOfHalvesStandBesideTheWhole) {
  std::vector<RunSeries> runs = {MakeRun("hc", ResidualKind::kHc, 1, 9, 2)};
  runs[0].matrices = {3, 2, {{1, 0, 0, 1}, {2, 0, 0, 2}}, {{4, 0, 0, 4}, {3, 0, 0, 3}}};
  LabelRuns(&runs);
  const Json figure = Find(FiguresOf(runs), "matrices-hc");
  std::vector<std::string> shown;
  for (const Json& matrix : figure["matrices"]) {
    shown.push_back(
        absl::StrCat(matrix["label"].get<std::string>(), ": ", matrix["values"][0].get<double>()));
  }
  EXPECT_THAT(
      shown, ElementsAre("H_0: 1", "H_0 ... H_0: 1", "H_1 ... H_1: 3", "H_1 ... H_0: 2", "H_1: 3"));
}

// Table 2 at n = 4, C = 2560 in units of C, coefficients left out; ours is the published bound of
// a single pass.
TEST(RunFigures, TrafficIsThatOfTable2) {
  std::vector<RunSeries> runs(1);
  runs[0].spec.model.vocab_size = 257;
  runs[0].spec.model.hidden_size = 2560;
  LabelRuns(&runs);
  const Json table = Find(FiguresOf(runs), "traffic");
  std::vector<double> units;
  for (const Json& row : table["rows"]) units.push_back(row.back());
  EXPECT_THAT(units, ElementsAre(DoubleNear(3, 1e-9), DoubleNear(34, 0.05), DoubleNear(18, 0.05),
                                 DoubleNear(10, 0.05)));
}

// Table 3 counts norms, u and X of the block; ours makes no u, and keeps norms of all.
TEST(RunFigures, RecomputationIsCountedFromTheListOfTensors) {
  std::vector<RunSeries> runs(1);
  runs[0].spec.model.vocab_size = 257;
  runs[0].spec.model.hidden_size = 64;
  runs[0].spec.model.num_hidden_layers = 12;  // L = 24, n = 4: least at L_r = 4
  LabelRuns(&runs);
  const Json figure = Find(FiguresOf(runs), "recompute-");
  const std::vector<double> formula = figure["lines"][0]["y"], counted = figure["lines"][1]["y"];
  EXPECT_EQ(std::ranges::min_element(formula) - formula.begin(), 3);
  // X of 6 openings and of 3 sub-layers made anew, 4 norms; fp32.
  EXPECT_EQ(counted[3], 4.0 * 64 * (4 * (6 + 3) + 4));
}

}  // namespace
}  // namespace birkhoff
