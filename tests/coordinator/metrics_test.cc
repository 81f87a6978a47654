// The coordinator's Prometheus families as a scrape sees them.
#include "coordinator/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <limits>

#include "tests/coordinator/fleet.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public Fleet {
 protected:
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(NewCoordinatorMetrics(*coordinator_)->Collect());
  }
  void Step(int rank, int64_t step, double seconds) {
    StepDone done = Stepped(1, rank, step);
    done.report.loss = 5.5 - static_cast<double>(step);
    done.report.grad_norm = 0.75;
    done.report.lr = 0.001;
    done.report.bubble = 0.25;
    done.report.total_tokens = 1000 * step;
    done.report.step_seconds = seconds;
    done.report.memory_bytes = 4096 + rank;
    done.report.skipped_total = 2;
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
  EXPECT_EQ(Scrape(), R"(# HELP birkhoff_workers Workers by state.
# TYPE birkhoff_workers gauge
birkhoff_workers{state="idle"} 1
birkhoff_workers{state="busy"} 0
birkhoff_workers{state="lost"} 0
# HELP birkhoff_queue_length Jobs that wait for workers.
# TYPE birkhoff_queue_length gauge
birkhoff_queue_length 0
# HELP birkhoff_store_refuses 1 while the job store takes no events.
# TYPE birkhoff_store_refuses gauge
birkhoff_store_refuses 0
)");
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
           "birkhoff_stability_events_total{job_id=\"tiny\",kind=\"skipped_step\"} 2\n",
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
           "birkhoff_memory_bytes{job_id=\"tiny\",worker=\"workers/w1\",kind=\"rank\"} 4097\n",
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

}  // namespace
}  // namespace birkhoff
