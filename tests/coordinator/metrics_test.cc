// The coordinator's Prometheus families as a scrape sees them.
#include "coordinator/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <regex>
#include <set>
#include <string>

#include "coordinator/job_families.h"
#include "core/net/process_metrics.h"
#include "core/net/rpc_metrics.h"
#include "core/plan/memory.h"
#include "tests/coordinator/fleet.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class MetricsTest : public Fleet {
 protected:
  MetricsTest() {
    planner_ = [](const JobSpec& spec, const ClusterSpec& cluster) {
      absl::StatusOr<Plan> plan = EmptyPlan(spec, cluster);
      for (RankPlan& rank : plan->ranks) {
        rank.memory = {{kWeightsItem, MemoryPlace::kDevice, 64},
                       {kWeightCopiesItem, MemoryPlace::kDevice, 32},
                       {kSecondMomentsItem, MemoryPlace::kDevice, 8},
                       {kNormWorkspaceItem, MemoryPlace::kDevice, 4},
                       {kTokenStagingItem, MemoryPlace::kHost, 2}};
      }
      return plan;
    };
    Restart();
  }
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(
        NewCoordinatorMetrics(*coordinator_, {"1.2.3"})->Collect());
  }
  void Step(int rank, int64_t step, double seconds) {
    StepDone done = Stepped(1, rank, step);
    done.report.loss = 5.5 - static_cast<double>(step);
    done.report.grad_norm = 0.75;
    done.report.lr = 0.001;
    done.report.bubble = 0.25;
    done.report.exposed_transfer = 0.125;
    done.report.compute_seconds = 0.5 + rank;
    done.report.total_tokens = 1000 * step;
    done.report.step_seconds = seconds;
    done.report.skipped = step == 2;
    done.report.gain.forward = 1.5;
    done.report.gain.backward = 2.5;
    done.report.gain.forward_by_sublayer = {1.25, 1.5};
    done.report.gain.backward_by_sublayer = {2.25, 2.5};
    done.report.gain.single_forward_by_sublayer = {1.125, 1.0625};
    done.report.gain.single_backward_by_sublayer = {3, 4};
    ASSERT_TRUE(Say(rank, done).ok());
  }
};

TEST_F(MetricsTest, AnIdleFleetHasWorkersAndAQueueOnly) {
  ASSERT_TRUE(Greet(0).ok());
  EXPECT_THAT(Scrape(), StartsWith(R"(# HELP birkhoff_workers Workers by state.
# TYPE birkhoff_workers gauge
birkhoff_workers{state="idle"} 1
birkhoff_workers{state="busy"} 0
birkhoff_workers{state="lost"} 0
# HELP birkhoff_queue_length Jobs that wait for workers.
# TYPE birkhoff_queue_length gauge
birkhoff_queue_length 0
# HELP birkhoff_build_info 1; the version, by label.
# TYPE birkhoff_build_info gauge
birkhoff_build_info{version="1.2.3"} 1
# HELP birkhoff_store_refuses 1 while the job store takes no events.
# TYPE birkhoff_store_refuses gauge
birkhoff_store_refuses 0
)"));
}

TEST_F(MetricsTest, ATrainingJobShowsItsLastStep) {
  Train();
  Step(0, 1, 0.002);
  Step(1, 1, 0.002);
  Step(0, 2, 0.5);
  const std::string text = Scrape();
  for (const char* line : {
           "birkhoff_training_loss{job_id=\"tiny\"} 3.5\n",
           "birkhoff_gradient_norm{job_id=\"tiny\"} 0.75\n",
           "birkhoff_learning_rate{job_id=\"tiny\"} 0.001\n",
           "birkhoff_pipeline_bubble_ratio{job_id=\"tiny\"} 0.25\n",
           "birkhoff_amax_gain{job_id=\"tiny\",direction=\"forward\",sublayer=\"1\"} 1.5\n",
           "birkhoff_amax_gain{job_id=\"tiny\",direction=\"backward\",sublayer=\"0\"} 2.25\n",
           "birkhoff_amax_gain_single{job_id=\"tiny\",direction=\"forward\",sublayer=\"0\"} "
           "1.125\n",
           "birkhoff_amax_gain_single{job_id=\"tiny\",direction=\"backward\",sublayer=\"1\"} 4\n",
           "birkhoff_amax_gain_window_max{job_id=\"tiny\",direction=\"backward\"} 2.5\n",
           "birkhoff_training_loss_window_max{job_id=\"tiny\"} 4.5\n",
           "birkhoff_gradient_norm_window_max{job_id=\"tiny\"} 0.75\n",
           "birkhoff_stability_events_total{job_id=\"tiny\",kind=\"skipped_step\"} 1\n",
           "birkhoff_stability_events_total{job_id=\"tiny\",kind=\"loss_spike\"} 0\n",
           "birkhoff_step_duration_seconds_count{job_id=\"tiny\"} 2\n",
           "birkhoff_step_duration_seconds_sum{job_id=\"tiny\"} 0.502\n",
           "birkhoff_step_duration_seconds_bucket{job_id=\"tiny\",le=\"0.001\"} 0\n",
           "birkhoff_step_duration_seconds_bucket{job_id=\"tiny\",le=\"0.003\"} 1\n",
           "birkhoff_step_duration_seconds_bucket{job_id=\"tiny\",le=\"0.3\"} 1\n",
           "birkhoff_step_duration_seconds_bucket{job_id=\"tiny\",le=\"1\"} 2\n",
           "birkhoff_step_duration_seconds_bucket{job_id=\"tiny\",le=\"+Inf\"} 2\n",
           "birkhoff_last_step_timestamp_seconds{job_id=\"tiny\"} 1700000001\n",
           "birkhoff_tokens_total{job_id=\"tiny\"} 2000\n",
           "birkhoff_restarts_total{job_id=\"tiny\"} 0\n",
           "birkhoff_job_state{job_id=\"tiny\",state=\"RUNNING\"} 1\n",
           "birkhoff_job_state{job_id=\"tiny\",state=\"QUEUED\"} 0\n",
           "birkhoff_memory_bytes{job_id=\"tiny\",worker=\"workers/w1\",kind=\"weights\"} 96\n",
           "birkhoff_memory_bytes{job_id=\"tiny\",worker=\"workers/w0\",kind=\"activations\"} 0\n",
           "birkhoff_memory_bytes{job_id=\"tiny\",worker=\"workers/w0\",kind=\"optimizer\"} 8\n",
           "birkhoff_memory_bytes{job_id=\"tiny\",worker=\"workers/w0\",kind=\"other\"} 4\n",
           "birkhoff_memory_bytes{job_id=\"tiny\",worker=\"workers/w0\",kind=\"host\"} 2\n",
           "birkhoff_compute_seconds{job_id=\"tiny\",worker=\"workers/w1\"} 1.5\n",
           "birkhoff_exposed_transfer_ratio{job_id=\"tiny\"} 0.125\n",
           "birkhoff_job_info{job_id=\"tiny\",attempt=\"1\",residual=\"mhc\",schedule="
           "\"dualpipev\"} 1"
           "\n",
           "birkhoff_training_step{job_id=\"tiny\"} 2\n",
           "birkhoff_training_steps_planned{job_id=\"tiny\"} 200\n",
           "birkhoff_steps_total{job_id=\"tiny\"} 2\n",
           "birkhoff_sinkhorn_residual{job_id=\"tiny\"} 3\n",
           "birkhoff_amax_gain_bound{job_id=\"tiny\"} 10\n",
           "birkhoff_series_left_out{job_id=\"tiny\"} 0\n",
           "birkhoff_store_unwritten_events 2\n",
           "birkhoff_workers{state=\"busy\"} 2\n",
           "# TYPE birkhoff_tokens_total counter\n",
           "# TYPE birkhoff_step_duration_seconds histogram\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("birkhoff_model_flops_utilization"))) << "no peak is known";
  EXPECT_THAT(text, Not(HasSubstr("birkhoff_checkpoint_last_success"))) << "there is none";
}

// Item 18.
TEST_F(MetricsTest, TheShareOfThePeakShowsWhereItIsKnown) {
  Train();
  StepDone done = Stepped(1, 0, 1);
  done.report.mfu = 0.375;
  ASSERT_TRUE(Say(0, done).ok());
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_model_flops_utilization{job_id=\"tiny\"} 0.375\n"));
}

TEST_F(MetricsTest, StepsThatTakeTheGainAboveItsBoundAreCountedOverRestarts) {
  Train();
  StepDone done = Stepped(1, 0, 1);
  done.report.gain.backward = 11.0;
  ASSERT_TRUE(Say(0, done).ok());
  const char* line =
      "birkhoff_stability_events_total{job_id=\"tiny\",kind=\"gain_above_bound\"} 1\n";
  EXPECT_THAT(Scrape(), HasSubstr(line));
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_TRUE(std::ranges::any_of(Updates(), [](const JobUpdate& update) {
    return update.notice && update.notice->code == kGainAboveBound && update.notice->step == 1;
  }));
  Restart();
  EXPECT_THAT(Scrape(), HasSubstr(line));
}

TEST_F(MetricsTest, TheWindowForgetsAfterAMinute) {
  Train();
  Step(0, 1, 0.1);
  clock_.Advance(absl::Seconds(60) - absl::Nanoseconds(1));
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_training_loss_window_max{job_id=\"tiny\"} 4.5\n"));
  clock_.Advance(absl::Nanoseconds(1));
  EXPECT_THAT(Scrape(), Not(HasSubstr("window_max")));
  Step(0, 2, 0.1);
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_training_loss_window_max{job_id=\"tiny\"} 3.5\n"));
}

TEST(StepWindow, WhatIsNotANumberIsTheLargest) {
  StepWindow window(absl::Seconds(60));
  EXPECT_FALSE(window.Largest(Instant{0}).has_value());
  StepReport report;
  report.loss = std::numeric_limits<double>::quiet_NaN();
  report.grad_norm = 2.0;
  window.Add(Instant{0}, report);
  report.loss = 1.0;
  report.grad_norm = 1.0;
  window.Add(Instant{1}, report);
  EXPECT_EQ(window.Largest(Instant{1})->loss, std::numeric_limits<double>::infinity());
  EXPECT_EQ(window.Largest(Instant{1})->grad_norm, 2.0);
}

TEST_F(MetricsTest, CheckpointsAndRestartsAreCounted) {
  Train();
  ASSERT_TRUE(Say(0, Committed(1, 10)).ok());
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_checkpoint_last_success_timestamp_seconds{"
                                  "job_id=\"tiny\"} 1700000001\n"));
  ASSERT_TRUE(Say(0, Exited(1, 0, ExitCode::kInternal)).ok());
  ASSERT_TRUE(Say(1, Exited(1, 1, ExitCode::kInfrastructure)).ok());
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_restarts_total{job_id=\"tiny\"} 1\n"));
}

TEST_F(MetricsTest, TheTokenCounterDoesNotStartAnewWithTheCoordinator) {
  Train();
  Step(0, 3, 0.1);
  ASSERT_TRUE(coordinator_->Tick().ok());  // the step is written
  Restart();
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_tokens_total{job_id=\"tiny\"} 3000\n"));
}

TEST_F(MetricsTest, AJobsSeriesGoAWhileAfterItHasEnded) {
  ASSERT_TRUE(Submit().ok());
  ASSERT_TRUE(Submit("", "other").ok());
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_queue_length 2\n"));
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  clock_.Advance(absl::Minutes(15) - absl::Nanoseconds(1));
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_job_state{job_id=\"tiny\",state=\"CANCELLED\"} 1\n"));
  clock_.Advance(absl::Nanoseconds(1));
  EXPECT_THAT(Scrape(), Not(HasSubstr("\"tiny\"")));
  EXPECT_THAT(Scrape(), HasSubstr("\"other\"")) << "it lives";
}

TEST_F(MetricsTest, AWaitingJobSaysSinceWhen) {
  ASSERT_TRUE(Submit().ok());
  clock_.Advance(absl::Seconds(10));
  ASSERT_TRUE(Submit("", "other").ok());
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_queue_oldest_timestamp_seconds 1700000001\n"));
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  EXPECT_THAT(Scrape(), HasSubstr("birkhoff_queue_oldest_timestamp_seconds 1700000011\n"));
  ASSERT_TRUE(coordinator_->Cancel("jobs/other").ok());
  EXPECT_THAT(Scrape(), Not(HasSubstr("birkhoff_queue_oldest")));
}

TEST_F(MetricsTest, WhatTheStoreRefusesIsCounted) {
  store_.AllowAppends(1);
  ASSERT_TRUE(Submit().ok());
  EXPECT_FALSE(Submit("", "other").ok());
  const std::string text = Scrape();
  EXPECT_THAT(text, HasSubstr("birkhoff_store_commit_duration_seconds_count 2\n"));
  EXPECT_THAT(text, HasSubstr("birkhoff_store_commit_failures_total 1\n"));
  EXPECT_THAT(text, HasSubstr("birkhoff_store_refuses 1\n"));
}

TEST_F(MetricsTest, TimesOfStepsAndCheckpointsOutliveTheCoordinator) {
  Train();
  Step(0, 1, 0.1);
  ASSERT_TRUE(Say(0, Committed(1, 1)).ok());
  clock_.Advance(absl::Seconds(100));
  Restart();
  const std::string text = Scrape();
  EXPECT_THAT(text,
              HasSubstr("birkhoff_last_step_timestamp_seconds{job_id=\"tiny\"} 1700000001\n"));
  EXPECT_THAT(text, HasSubstr("birkhoff_checkpoint_last_success_timestamp_seconds{job_id=\"tiny\"} "
                              "1700000001\n"));
  EXPECT_THAT(text, HasSubstr("birkhoff_checkpoint_last_step{job_id=\"tiny\"} 1\n"));
}

// How many series of `text` belong to the job.
int SeriesOf(const std::string& text, const std::string& job) {
  int series = 0;
  const std::string label = "{job_id=\"" + job + "\"";
  for (size_t at = text.find(label); at != std::string::npos; at = text.find(label, at + 1)) {
    ++series;
  }
  return series;
}

// docs/metrics.md states these numbers.
TEST_F(MetricsTest, AJobsSeriesAreAsManyAsStatedAndBounded) {
  Train();
  for (const int rank : {0, 1}) {
    StepDone done = Stepped(1, rank, 1);
    done.report.mfu = 0.5;
    done.report.validation_loss = 2.0;
    GainReport& gain = done.report.gain;
    for (auto* gains : {&gain.forward_by_sublayer, &gain.backward_by_sublayer,
                        &gain.single_forward_by_sublayer, &gain.single_backward_by_sublayer}) {
      gains->assign(60, 1.0);
    }
    ASSERT_TRUE(Say(rank, done).ok());
  }
  ASSERT_TRUE(Say(0, Committed(1, 1)).ok());
  clock_.Advance(absl::Seconds(1));
  const std::string all = Scrape();
  const int sized = 60 * kSeriesOfASublayer + 2 * kSeriesOfAWorker;
  EXPECT_EQ(SeriesOf(all, "tiny"), kSeriesOfAnyJob + sized);
  EXPECT_EQ(SeriesOf(all, "tiny"), 314);
  const std::string few = prometheus::TextSerializer().Serialize(
      NewCoordinatorMetrics(*coordinator_, {"", 100})->Collect());
  EXPECT_LE(SeriesOf(few, "tiny"), 100);
  EXPECT_THAT(few, HasSubstr("sublayer=\"0\"")) << "the first and the last stay";
  EXPECT_THAT(few, HasSubstr("sublayer=\"59\""));
  EXPECT_THAT(few, HasSubstr("birkhoff_series_left_out{job_id=\"tiny\"} 216\n"));
}

TEST(ChooseSeries, NeverExceedsTheBoundAndSharesWhatThereIs) {
  for (int64_t most = kSeriesOfAnyJob; most < 2000; most += 7) {
    for (const auto& [sublayers, workers] : {std::pair(60, 8), {0, 0}, {400, 1}, {2, 500}}) {
      const ShownSeries shown = ChooseSeries(sublayers, workers, most);
      const auto used = static_cast<int64_t>(shown.sublayers.size()) * kSeriesOfASublayer +
                        shown.workers * kSeriesOfAWorker;
      EXPECT_LE(kSeriesOfAnyJob + used, most);
      EXPECT_EQ(used + shown.left_out, sublayers * kSeriesOfASublayer + workers * kSeriesOfAWorker);
      const std::set<int> distinct(shown.sublayers.begin(), shown.sublayers.end());
      EXPECT_EQ(distinct.size(), shown.sublayers.size());
    }
  }
  EXPECT_EQ(ChooseSeries(60, 8, 1000).left_out, 0);
  EXPECT_EQ(ChooseSeries(400, 100, 1000).workers, 67) << "half of the room is theirs";
}

// The names in docs/metrics.md's tables, and those of a coordinator that has everything to show.
TEST_F(MetricsTest, TheDocumentedFamiliesAreThoseThatAreExposed) {
  Train();
  StepDone done = Stepped(1, 0, 1);
  done.report.mfu = 0.5;
  done.report.validation_loss = 2.0;
  GainReport& gain = done.report.gain;
  gain.forward_by_sublayer = gain.backward_by_sublayer = {1.0};
  gain.single_forward_by_sublayer = gain.single_backward_by_sublayer = {1.0};
  ASSERT_TRUE(Say(0, done).ok());
  ASSERT_TRUE(Say(0, Committed(1, 1)).ok());
  ASSERT_TRUE(Submit("", "waits").ok());
  clock_.Advance(absl::Seconds(1));
  std::set<std::string> exposed;
  for (const auto& source : {NewCoordinatorMetrics(*coordinator_, {}), NewProcessMetrics()}) {
    for (const prometheus::MetricFamily& family : source->Collect()) exposed.insert(family.name);
  }
  // They show once there was a call: tests/integration/monitoring_test.py.
  for (const char* name : {"grpc_server_started_total", "grpc_server_handled_total",
                           "grpc_server_handling_seconds", "grpc_server_open_streams"}) {
    exposed.insert(name);
  }
  std::ifstream page(BIRKHOFF_SOURCE_DIR "/docs/metrics.md");
  const std::string text{std::istreambuf_iterator<char>(page), {}};
  std::set<std::string> documented;
  static const std::regex kRow(R"(\n\| `((birkhoff|process|grpc_server)_[a-z_]+)` \|)");
  for (std::sregex_iterator at(text.begin(), text.end(), kRow), end; at != end; ++at) {
    EXPECT_TRUE(documented.insert((*at)[1]).second) << (*at)[1] << " stands there twice";
  }
  EXPECT_EQ(documented, exposed);
}

}  // namespace
}  // namespace birkhoff
