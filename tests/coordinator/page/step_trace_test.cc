// Traces of a step as trace.json has them, and as plans do.
#include "coordinator/page/step_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "coordinator/page/run_figures.h"
#include "core/plan/compile.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kTrace[] = R"({"otherData":{"step":7},"traceEvents":[
  {"name":"process_name","ph":"M","pid":1,"tid":0,"args":{"name":"rank 1, step 7"}},
  {"name":"thread_name","ph":"M","pid":1,"tid":10,"args":{"name":"activations 0 to 1"}},
  {"name":"receive-activation stage 1 micro-batch 0","cat":"receive-activation","ph":"X","pid":1,"tid":10,"ts":0,"dur":500,
   "args":{"planned_start_us":0,"planned_end_us":100}},
  {"name":"thread_name","ph":"M","pid":1,"tid":0,"args":{"name":"compute"}},
  {"name":"forward stage 1 micro-batch 0","cat":"forward","ph":"X","pid":1,"tid":0,"ts":500,"dur":1500,
   "args":{"planned_start_us":100,"planned_end_us":900}},
  {"name":"free stage 1 micro-batch 0","cat":"free","ph":"X","pid":1,"tid":0,"ts":2000,"dur":1,"args":{}}]})";

std::vector<std::string> Describe(const StepTimeline& timeline) {
  std::vector<std::string> lines;
  for (const TracedSpan& span : timeline.spans) {
    lines.push_back(
        absl::StrCat(timeline.rows[span.row], ": ", span.words, " ", span.start, "-", span.end));
  }
  return lines;
}

TEST(StepTrace, HasWhatRanBesideWhatWasPlannedComputeFirst) {
  const StepTrace trace = ParseTrace(kTrace);
  EXPECT_EQ(trace.step, 7);
  EXPECT_THAT(Describe(trace.measured),
              ElementsAre("rank 1 compute: forward stage 1 micro-batch 0 0.5-2",
                          "rank 1 activations 0 to 1: receive-activation stage 1 micro-batch 0 "
                          "0-0.5"));
  EXPECT_THAT(Describe(trace.planned),
              ElementsAre("rank 1 compute: forward stage 1 micro-batch 0 0.1-0.9",
                          "rank 1 activations 0 to 1: receive-activation stage 1 micro-batch 0 "
                          "0-0.1"));
}

// Of a worker before planned times stood there.
TEST(StepTrace, WithoutPlannedTimesHasWhatRanAlone) {
  const StepTrace trace = ParseTrace(
      R"({"otherData":{"step":7},"traceEvents":[{"name":"agree","cat":"agree","ph":"X","pid":0,)"
      R"("tid":3,"ts":0,"dur":5,"args":{"instruction":1}}]})");
  EXPECT_THAT(trace.measured.spans, SizeIs(1));
  EXPECT_THAT(trace.planned.spans, IsEmpty());
}

TEST(StepTrace, WhatIsNoTraceOfOursIsEmpty) {
  for (const char* text :
       {"", "[]", "{", R"({"traceEvents":[]})", R"({"otherData":{"step":-1},"traceEvents":[]})",
        R"({"otherData":{"step":1},"traceEvents":{}})",
        R"({"otherData":[],"traceEvents":[1,"a",null,[]]})",
        R"({"otherData":{"step":1},"traceEvents":[1,"a",null,[],{},{"pid":-1,"tid":0},)"
        R"({"pid":"x","tid":{},"args":3},{"pid":1e300,"tid":0,"cat":"forward","ph":"X"},)"
        R"({"pid":0,"tid":0,"cat":"forward","ph":"X","ts":"now","dur":1,"args":[]},)"
        R"({"pid":0,"tid":0,"cat":"forward","ph":"X","ts":5,"dur":-9},)"
        R"({"pid":0,"tid":0,"cat":"dance","ph":"X","ts":5,"dur":9}]})"}) {
    EXPECT_THAT(ParseTrace(text).measured.spans, IsEmpty()) << text;
    EXPECT_THAT(ParseTrace(text).planned.spans, IsEmpty()) << text;
  }
}

TEST(StepTrace, APlanSaysWhenEachOfItsInstructionsIsExpected) {
  JobSpec spec;
  spec.model.vocab_size = 257;
  ClusterSpec cluster;
  for (const char* name : {"workers/a", "workers/b"}) {
    cluster.workers.emplace_back();
    cluster.workers.back().name = name;
    cluster.workers.back().device = "cpu";
  }
  spec.parallelism.pipeline_parallel_degree = 2;
  const absl::StatusOr<Plan> plan = CompilePlan(spec, cluster);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const StepTrace trace = PlannedTrace(*plan);
  EXPECT_THAT(trace.measured.spans, IsEmpty());
  double end = 0.0;
  for (const TracedSpan& span : trace.planned.spans) end = std::max(end, span.end);
  EXPECT_DOUBLE_EQ(end, static_cast<double>(plan->predicted_step_ns) * 1e-6);
  EXPECT_THAT(trace.planned.rows, ::testing::IsSupersetOf({"rank 0 compute", "rank 1 compute"}));
}

TEST(TimelineFigures, AreOfRunsThatHaveATrace) {
  std::vector<RunSeries> runs(2);
  runs[0].name = "a", runs[1].name = "b";
  for (RunSeries& run : runs) run.label = run.name, run.spec.model.vocab_size = 257;
  runs[1].trace = ParseTrace(kTrace);
  const auto timelines = [&runs](const FigureRequest& request) {
    FigureList figures(request);
    AddTimelineFigures(ListOf(runs), &figures);
    return figures.Take();
  };
  const std::vector<Json> shown = timelines({});
  ASSERT_THAT(shown, SizeIs(1));
  EXPECT_EQ(shown[0]["id"], "timeline-b");
  EXPECT_EQ(shown[0]["panels"][0]["label"], "Step 7 as it ran, 2 ms");
  EXPECT_EQ(shown[0]["panels"][1]["label"], "As planned, 0.9 ms");
  EXPECT_EQ(shown[0]["panels"][0]["spans"][0].dump(),
            R"([0,0.5,2.0,"forward","forward stage 1 micro-batch 0"])");
  EXPECT_FALSE(timelines({.first = 0})[0].contains("panels"));
}

}  // namespace
}  // namespace birkhoff
