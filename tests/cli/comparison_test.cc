// What a comparison trains, and what it says of runs with numbers made by hand.
#include "cli/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "cli/comparison_result.h"
#include "core/spec/load.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::vector<std::string> NamesOf(const std::vector<Variant>& variants) {
  std::vector<std::string> names;
  for (const Variant& variant : variants) names.push_back(variant.name);
  return names;
}

TEST(Comparison, IsEveryKindWithEverySeedSeedsOutermost) {
  JobSpec base;
  base.training.seed = 7;
  const std::vector<Variant> variants = MakeVariants(base, {"residual", "hc"}, {}, 2);
  EXPECT_THAT(NamesOf(variants), ElementsAre("residual-s7", "hc-s7", "residual-s8", "hc-s8"));
  EXPECT_THAT(variants[3].overrides, ElementsAre("model.residual.kind=hc", "training.seed=8"));
}

TEST(Comparison, SweepsAreCombined) {
  const std::vector<Sweep> sweeps = {*ParseSweep("optimizer.lr=1e-3,0.02"),
                                     *ParseSweep("model.residual.streams=2,4")};
  const std::vector<Variant> variants = MakeVariants({}, {"mhc"}, sweeps, 1);
  EXPECT_THAT(NamesOf(variants),
              ElementsAre("mhc-lr-1e-3-streams-2-s42", "mhc-lr-1e-3-streams-4-s42",
                          "mhc-lr-0-02-streams-2-s42", "mhc-lr-0-02-streams-4-s42"));
  EXPECT_THAT(variants[2].overrides, Contains("optimizer.lr=0.02"));
}

TEST(Comparison, WhatIsOfStreamsAloneLeavesThePlainResidualAsItIs) {
  const std::vector<Sweep> sweeps = {*ParseSweep("model.residual.streams=1,2,8")};
  EXPECT_THAT(NamesOf(MakeVariants({}, {"residual", "wider"}, sweeps, 1)),
              ElementsAre("residual-s42", "wider-s42"));
  EXPECT_THAT(MakeVariants({}, {"hc"}, sweeps, 1), SizeIs(3));
}

TEST(Comparison, AnAblationNamesWhatIsNotLearned) {
  EXPECT_THAT(*ResidualOverrides("hc-no-pre-no-post"),
              ElementsAre("model.residual.kind=hc", "model.residual.learn_pre=false",
                          "model.residual.learn_post=false"));
  EXPECT_THAT(*ResidualOverrides("mhc-no-res"),
              ElementsAre("model.residual.kind=mhc", "model.residual.mapping=identity"));
  EXPECT_THAT(*ResidualOverrides("wider"), ElementsAre("model.residual.kind=residual"));
  for (const char* word :
       {"", "HC", "hc-", "hc-no-", "hc-no-all", "residual-no-res", "wider-no-pre"}) {
    EXPECT_FALSE(ResidualOverrides(word).ok()) << word;
  }
}

TEST(Comparison, SweepsThatAreNoneAreRefused) {
  for (const char* text :
       {"optimizer.lr", "=1,2", "optimizer.lr=", "optimizer.lr=1,,2", "optimizer.lr=1,2,1"}) {
    EXPECT_THAT(std::string(ParseSweep(text).status().message()), HasSubstr("need PATH=A,B,C"))
        << text;
  }
}

TEST(Comparison, WiderHasTheParametersOfMhcAndIsSound) {
  for (const int width : {32, 64, 128, 1024}) {
    JobSpec plain;
    plain.model.vocab_size = 257;
    plain.model.hidden_size = width;
    plain.model.intermediate_size = 3 * width;
    plain.data.train = {{"t", 1.0}};
    plain.model.residual.kind = ResidualKind::kResidual;
    ModelSpec mhc = plain.model;
    mhc.residual.kind = ResidualKind::kMhc;
    std::vector<Problem> problems;
    const JobSpec wider =
        LoadJobSpec(JobSpecToYaml(plain), WiderOverrides(plain.model, mhc), &problems);
    EXPECT_TRUE(problems.empty());
    const double wanted = static_cast<double>(NumParameters(mhc));
    EXPECT_NEAR(static_cast<double>(NumParameters(wider.model)) / wanted, 1.0, 0.01) << width;
    EXPECT_GT(wider.model.hidden_size, width);
    EXPECT_EQ(wider.model.hidden_size % (2 * wider.model.num_attention_heads), 0);
  }
}

TEST(Comparison, JobNamesFitWhateverTheyAreMadeOf) {
  const Variant variant = {"mhc-lr-1e-3-s42", "mhc", {}};
  EXPECT_EQ(VariantJobName("tiny", variant), "tiny-mhc-lr-1e-3-s42");
  EXPECT_EQ(VariantJobName(std::string(63, 'a'), variant),
            std::string(63 - 16, 'a') + "-mhc-lr-1e-3-s42");
  const Variant endless = {std::string(100, 'b'), "mhc", {}};
  EXPECT_LE(VariantJobName("tiny", endless).size(), 63);
}

// Two seeds of HC beside one of mHC, of two learning rates.
ComparisonResult Result() {
  ComparisonResult result;
  result.name = "tiny";
  result.sweeps = {*ParseSweep("optimizer.lr=1e-3,2e-3")};
  result.variants = MakeVariants({}, {"hc", "mhc"}, result.sweeps, 2);
  for (const Variant& variant : result.variants) {
    std::vector<Problem> problems;
    std::vector<std::string> overrides = variant.overrides;
    overrides.push_back("model.vocab_size=257");
    const JobSpec spec = LoadJobSpec("data: {train: t}", overrides, &problems);
    EXPECT_TRUE(problems.empty());
    result.runs.push_back({variant.name, "/nowhere", spec, true, JobState::kSucceeded, {}, {}});
    RunSeries& series = result.series.emplace_back();
    series.name = variant.name;
    series.spec = spec;
    const double loss = spec.optimizer.lr * 1000.0 + static_cast<double>(spec.training.seed) - 42.0;
    AddRow(absl::StrCat(R"({"step":1,"loss":9,"total_tokens":64,"tokens_per_second":)", loss, "}"),
           &series);
    AddRow(absl::StrCat(R"({"step":2,"loss":)", loss, R"(,"total_tokens":128})"), &series);
  }
  LabelVariants(result, {}, &result.series);
  return result;
}

TEST(ComparisonResult, JsonHasMeanAndSpreadAndNothingOfTheMachine) {
  const Json json = ComparisonToJson(Result());
  EXPECT_EQ(json["runs"].size(), 8);
  EXPECT_EQ(json["runs"][0]["name"], "hc-lr-1e-3-s42");
  EXPECT_EQ(json["runs"][0]["final_loss"], 1.0);
  ASSERT_EQ(json["groups"].size(), 4);
  EXPECT_EQ(json["groups"][0]["label"], "hc lr 0.001");
  EXPECT_EQ(json["groups"][0]["final_loss"],
            Json({{"mean", 1.5}, {"smallest", 1.0}, {"largest", 2.0}}));
  EXPECT_THAT(json.dump(), Not(HasSubstr("nowhere")));
  EXPECT_THAT(json.dump(), Not(HasSubstr("per_second")));
}

TEST(ComparisonResult, ASweepIsAFigureWithALineForEachKind) {
  for (const Json& figure : ComparisonFigures(Result())) {
    if (figure["id"] != "sweep-optimizer-lr-final-loss") continue;
    EXPECT_EQ(figure["x"], Json({0.001, 0.002}));
    ASSERT_EQ(figure["lines"].size(), 2);
    EXPECT_EQ(figure["lines"][1].dump(),
              R"({"label":"mhc","y":[1.5,2.5],"low":[1.0,2.0],"high":[2.0,3.0]})");
    return;
  }
  FAIL() << "no such figure";
}

TEST(ComparisonResult, TheControlIsCalledWiderWhateverItsWidthCameTo) {
  ComparisonResult result;
  result.variants = MakeVariants({}, {"residual", "wider", "mhc"}, {}, 1);
  result.series.resize(3);
  result.series[0].spec.model.residual.kind = ResidualKind::kResidual;
  result.series[1].spec = result.series[0].spec;
  result.series[1].spec.model.hidden_size = 136;
  LabelVariants(result, {}, &result.series);
  std::vector<std::string> labels;
  for (const RunSeries& series : result.series) labels.push_back(series.label);
  EXPECT_THAT(labels, ElementsAre("residual", "wider", "mhc"));
}

}  // namespace
}  // namespace birkhoff
