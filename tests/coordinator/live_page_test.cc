// The page for browsers: what a daemon with a job that waits answers, and how a job's past is kept.
#include "coordinator/live_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "coordinator/daemon.h"
#include "coordinator/page/figure.h"
#include "core/base/disk.h"
#include "tests/core/net/http_request.h"
#include "tests/testing/temporary_directory.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

class LivePageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    DaemonOptions options;
    options.listen = options.page_listen = "127.0.0.1:0";
    options.metrics_listen = "";
    options.store_path = ":memory:";
    auto daemon = Daemon::Start(options);
    ASSERT_TRUE(daemon.ok()) << daemon.status();
    daemon_ = *std::move(daemon);
    SubmitRequest request;
    request.spec.name = "tiny";
    request.spec.model.vocab_size = 257;
    request.spec.data.train = {{"/data/t", 1.0}};
    ASSERT_TRUE(daemon_->coordinator().Submit(request).ok());
  }
  std::string Get(const std::string& path) const {
    return HttpRequest(daemon_->page_address(), path).Answer();
  }
  // The body of a good answer.
  Json GetJson(const std::string& path) const {
    const std::string answer = Get(path);
    EXPECT_THAT(answer, StartsWith("200: "));
    return Json::parse(answer.substr(5), nullptr, /*allow_exceptions=*/false);
  }

  std::unique_ptr<Daemon> daemon_;
};

TEST_F(LivePageTest, IsOnePageWithJobsAndFigures) {
  EXPECT_THAT(Get("/"), HasSubstr("connect-src 'self'"));
  const Json jobs = GetJson("/api/jobs");
  ASSERT_EQ(jobs["jobs"].size(), 1);
  EXPECT_EQ(jobs["jobs"][0]["name"], "tiny");
  EXPECT_EQ(jobs["jobs"][0]["state"], "QUEUED");
  EXPECT_EQ(jobs["workers"].dump(), R"({"idle":0,"busy":0,"lost":0})");
}

TEST_F(LivePageTest, SendsNumbersOfTheFiguresThatAreShown) {
  const Json answer = GetJson("/api/figures?job=tiny&show=recompute-tiny");
  EXPECT_EQ(answer["labels"], Json({"tiny"}));
  EXPECT_THAT(answer["runs"][0]["yaml"].get<std::string>(), StartsWith("name: tiny\n"));
  for (const Json& figure : answer["figures"]) {
    EXPECT_EQ(figure.contains("stub"), figure["id"] != "recompute-tiny") << figure["id"];
  }
  EXPECT_FALSE(GetJson("/api/figures?job=tiny")["figures"][0].contains("stub"));
  EXPECT_THAT(GetJson("/api/figures")["figures"], SizeIs(0));
}

TEST_F(LivePageTest, WhatIsNoStretchAndNoNumberOfPointsIsLeftAside) {
  const std::string plain = Get("/api/figures?job=tiny&show=recompute-tiny");
  for (const std::string odd :
       {"show=recompute-tiny&points=-1", "show=recompute-tiny&points=1e99",
        "show=recompute-tiny:1:", "show=recompute-tiny:9:1", "show=recompute-tiny:nan:nan",
        "show=recompute-tiny:1:2:3", "show=recompute-tiny:1:3&points=99999999999999999999"}) {
    EXPECT_EQ(Get("/api/figures?job=tiny&" + odd), plain) << odd;
  }
}

TEST_F(LivePageTest, NamesTheJobThatThereIsNot) {
  EXPECT_THAT(Get("/api/figures?job=nobody"), StartsWith("404: "));
  EXPECT_THAT(Get("/api/figures?job=tiny&job=%2e%2e%2f%00"), StartsWith("404: "));
}

TEST_F(LivePageTest, BeyondLoopbackItIsServedWhenAskedForAlone) {
  const auto page = LivePage::Start("0.0.0.0:0", daemon_->coordinator());
  EXPECT_THAT(std::string(page.status().message()), HasSubstr("--allow-plaintext"));
  EXPECT_TRUE(LivePage::Start("0.0.0.0:0", daemon_->coordinator(), true).ok());
}

TEST_F(LivePageTest, ShowsTheTraceThatLiesInTheDirectoryOfTheJob) {
  const testing::TemporaryDirectory directory;
  PosixDisk disk;
  SubmitRequest request;
  request.spec.name = "traced";
  request.spec.model.vocab_size = 257;
  request.spec.data.train = {{"/data/t", 1.0}};
  request.output_directory = directory.path();
  const std::string trace =
      R"({"otherData":{"step":7},"traceEvents":[{"name":"agree","cat":"agree","ph":"X","pid":0,)"
      R"("tid":3,"ts":0,"dur":5,"args":{}}]})";
  ASSERT_TRUE(ReplaceFile(disk, directory / "trace.json", trace).ok());
  ASSERT_TRUE(daemon_->coordinator().Submit(request).ok());
  const Json answer = GetJson("/api/figures?job=traced&show=timeline-traced");
  std::string label;
  for (const Json& figure : answer["figures"]) {
    if (figure["id"] == "timeline-traced") label = figure["panels"][0]["label"];
  }
  EXPECT_EQ(label, "Step 7 as it ran, 0.005 ms");
}

JobView Named(const std::string& name) {
  JobView job;
  job.name = name;
  return job;
}

JobUpdate Step(int64_t step, double gain) {
  JobUpdate update;
  update.id = step;
  update.step.emplace();
  update.step->step = step;
  update.step->gain.forward_by_sublayer = {1.0, gain};
  return update;
}

TEST(JobHistory, KeepsStepsWholeAndFoldsSubLayersOfLongJobsWithTheirPeaks) {
  JobHistory history(Named("jobs/long"));
  const auto rows = static_cast<int64_t>(5 * JobHistory::kMostDepthRows);
  for (int64_t step = 1; step <= rows; ++step) history.Add(Step(step, step == 777 ? 1e6 : 2.0));
  const RunSeries& series = history.series();
  EXPECT_EQ(series.name, "long");
  EXPECT_EQ(history.seen(), rows);
  EXPECT_THAT(series.columns.at("loss"), SizeIs(rows));
  size_t kept = 0;
  double largest = 0.0;
  for (const std::vector<double>& row : series.depth_columns.at("gain_forward_by_sublayer")) {
    kept += row.empty() ? 0 : 1;
    if (!row.empty()) largest = std::max(largest, row[1]);
  }
  EXPECT_LE(kept, 2 * JobHistory::kMostDepthRows);
  EXPECT_EQ(largest, 1e6);
}

TEST(JobHistory, LooksForATraceWhenOneMayHaveCome) {
  JobHistory history(Named("jobs/a"));
  EXPECT_TRUE(history.awaits_trace());
  history.SetTrace({7, {}, {}});
  EXPECT_EQ(history.series().trace.step, 7);
  history.Add(Step(1, 1.0));
  EXPECT_FALSE(history.awaits_trace());
  JobUpdate checkpoint;
  checkpoint.checkpoint.emplace();
  history.Add(checkpoint);
  EXPECT_TRUE(history.awaits_trace());
}

TEST(JobHistory, EventsAreSentencesAndTheLastOnesStay) {
  JobHistory history(Named("jobs/a"));
  JobUpdate update;
  update.state = JobUpdate::StateChange{JobState::kRecovering, {"RANK_LOST", "rank 1 left"}, {}};
  update.exited = JobUpdate::Exited{1, ExitCode::kInfrastructure, "killed"};
  history.Add(update);
  ASSERT_THAT(history.events(), SizeIs(1));
  EXPECT_EQ(history.events()[0].words, "RECOVERING: rank 1 left; rank 1 left: killed");
  for (size_t i = 0; i < JobHistory::kMostEvents; ++i) {
    JobUpdate checkpoint;
    checkpoint.checkpoint.emplace();
    checkpoint.checkpoint->step = static_cast<int64_t>(i);
    history.Add(checkpoint);
  }
  EXPECT_THAT(history.events(), SizeIs(JobHistory::kMostEvents));
  EXPECT_EQ(history.events()[0].words, "checkpoint of step 0");
}

}  // namespace
}  // namespace birkhoff
