// Rows of metrics.jsonl as columns, and what tells runs apart.
#include "coordinator/page/run_series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsNan;

TEST(RunSeries, EveryKeyIsAColumnAsLongAsTheRows) {
  RunSeries run;
  AddRows(R"({"step":1,"loss":5.5,"skipped":false,"gain_by":[1,2]}
{"step":2,"loss":null,"saturation":0.25,"gain_by":[3,null]}
)",
          &run);
  EXPECT_THAT(run.steps, ElementsAre(1, 2));
  EXPECT_THAT(run.columns["loss"], ElementsAre(5.5, IsNan()));
  EXPECT_THAT(run.columns["saturation"], ElementsAre(IsNan(), 0.25));
  EXPECT_FALSE(run.columns.contains("skipped")) << "no number";
  ASSERT_EQ(run.depth_columns["gain_by"].size(), 2);
  EXPECT_THAT(run.depth_columns["gain_by"][0], ElementsAre(1, 2));
  EXPECT_THAT(run.depth_columns["gain_by"][1], ElementsAre(3, IsNan()));
  EXPECT_EQ(run.Last("saturation"), 0.25);
  EXPECT_THAT(run.Last("nothing"), IsNan());
}

TEST(RunSeries, LeavesOutWhatIsNoWholeNewRow) {
  RunSeries run;
  AddRows(
      "{\"step\":3,\"loss\":1}\n{\"step\":3,\"loss\":2}\n[1]\n{\"st\n{\"step\":\"4\"}\n"
      "{\"loss\":7}\n{\"step\":5,\"loss\":3}\n{\"step\":6,\"lo",
      &run);
  EXPECT_THAT(run.steps, ElementsAre(3, 5));
  EXPECT_THAT(run.columns["loss"], ElementsAre(1, 3));
}

TEST(RunSeries, MatricesThatAreNotWholeAreNone) {
  const MeanMatrices whole = ParseMatrices(
      R"({"step":7,"streams":2,"forward_by_sublayer":[[1,2,3,4]],"backward_by_sublayer":[[5,6,7,8]]})");
  EXPECT_EQ(whole.step, 7);
  EXPECT_THAT(whole.backward_by_sublayer, ElementsAre(ElementsAre(5, 6, 7, 8)));
  for (
      const char* broken :
      {"", "[]", "{\"step\":1}", "{\"step\":1,\"streams\":\"2\"}",
       R"({"step":7,"streams":3,"forward_by_sublayer":[[1,2,3,4]],"backward_by_sublayer":[[5,6,7,8]]})",
       R"({"step":7,"streams":2,"forward_by_sublayer":[[1,2,3,4]],"backward_by_sublayer":[]})"}) {
    EXPECT_TRUE(ParseMatrices(broken).forward_by_sublayer.empty()) << broken;
  }
}

TEST(RunSeries, LabelsNameTheKindAndWhatDiffersFromMost) {
  std::vector<RunSeries> runs(5);
  runs[0].spec.model.residual.kind = ResidualKind::kResidual;
  runs[1].spec.model.residual.kind = ResidualKind::kResidual;
  runs[1].spec.model.hidden_size = 136;
  runs[2].spec.model.residual.kind = ResidualKind::kHc;
  runs[4].spec.model.residual.streams = 8;
  // What changes no result, and what runs of one kind are averaged over, tells nothing apart.
  runs[3].spec.training.seed = 7;
  runs[3].spec.name = "other";
  runs[3].spec.parallelism.pipeline_parallel_degree = 1;
  LabelRuns(&runs);
  std::vector<std::string> labels;
  for (const RunSeries& run : runs) labels.push_back(run.label);
  EXPECT_THAT(labels,
              ElementsAre("residual", "residual hidden_size 136", "hc", "mhc", "mhc streams 8"));
}

}  // namespace
}  // namespace birkhoff
