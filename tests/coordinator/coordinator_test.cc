// The coordinator: placement, meetings, fencing, watchers, time and what people ask, with a clock that
// stands still.
#include "coordinator/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/fleet.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using CoordinatorTest = Fleet;

// Item 29.
TEST_F(CoordinatorTest, AHoleInTheStreamIsNamedInItsPlace) {
  Train();
  ASSERT_TRUE(Say(0, Stepped(1, 0, 1)).ok());
  for (int again = 0; again < 2; ++again) ASSERT_TRUE(Say(0, Stepped(1, 0, 6)).ok());
  ASSERT_TRUE(coordinator_->Tick().ok());
  std::vector<std::string> told;
  for (const JobUpdate& update : Updates()) {
    if (update.step) told.push_back(absl::StrCat("step ", update.step->step));
    if (update.notice) told.push_back(update.notice->sentence.substr(0, 26));
  }
  EXPECT_THAT(told, ElementsAre("step 1", "steps 2 to 5 are missing h", "step 6"));
  const int64_t before = View().last_event_id;
  Restart();
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker, "jobs/tiny", 1).ok());
  ASSERT_TRUE(Say(0, Stepped(1, 0, 7)).ok());
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_EQ(View().last_event_id, before + 1) << "nothing is missing after a restart";
}

TEST_F(CoordinatorTest, PlacesAJobOnceEnoughWorkersAreThere) {
  ASSERT_TRUE(Submit().ok());
  ASSERT_TRUE(Greet(0).ok());
  EXPECT_EQ(View().state, JobState::kQueued);
  EXPECT_THAT(link(0).Of<Welcome>(), SizeIs(1));
  ASSERT_TRUE(Greet(1).ok());
  EXPECT_EQ(View().state, JobState::kStarting);
  EXPECT_THAT(View().workers, ElementsAre("workers/w0", "workers/w1"));
  const std::vector<StartAttempt> starts = link(1).Of<StartAttempt>();
  ASSERT_THAT(starts, SizeIs(1));
  const Assignment& assignment = starts[0].assignment;
  EXPECT_EQ(assignment.job, "jobs/tiny");
  EXPECT_EQ(assignment.attempt, 1);
  EXPECT_EQ(assignment.rank, 1);
  EXPECT_EQ(assignment.world_size, 2);
  EXPECT_EQ(assignment.output_directory, "runs/tiny");
  EXPECT_EQ(assignment.plan_hash, PlanHash(assignment.plan));
  EXPECT_EQ(assignment.peer_address, "10.0.0.1");
}

TEST_F(CoordinatorTest, AJobForGpusWaitsForThemAndSaysSo) {
  SubmitRequest request;
  request.spec = TwoRanks("tiny");
  request.spec.device = DeviceKind::kCuda;
  ASSERT_TRUE(coordinator_->Submit(request).ok());
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker).ok());
  EXPECT_EQ(View().state, JobState::kQueued);
  EXPECT_EQ(View().reason.sentence,
            "waits for 2 idle workers with device cuda; there are none: 2 more must come");
  // What needs no GPU goes on meanwhile.
  request.spec = TwoRanks("other");
  request.spec.device = DeviceKind::kCpu;
  ASSERT_TRUE(coordinator_->Submit(request).ok());
  EXPECT_THAT(View("jobs/other").workers, ElementsAre("workers/w0", "workers/w1"));
  for (const int worker : {2, 3}) ASSERT_TRUE(Greet(worker, "", 0, "cuda").ok());
  EXPECT_THAT(View().workers, ElementsAre("workers/w2", "workers/w3"));
}

// GPUs that come later would compute other numbers.
TEST_F(CoordinatorTest, AJobGoesOnWithTheDeviceThatItBeganWith) {
  Train();
  for (const int worker : {2, 3}) ASSERT_TRUE(Greet(worker, "", 0, "cuda").ok());
  for (const int rank : {0, 1}) {
    ASSERT_TRUE(Say(rank, Exited(1, rank, ExitCode::kInfrastructure)).ok());
  }
  EXPECT_EQ(View().attempt, 2);
  EXPECT_THAT(View().workers, ElementsAre("workers/w0", "workers/w1"));
}

TEST_F(CoordinatorTest, FailsAJobThatCannotBePlanned) {
  planner_ = [](const JobSpec&, const ClusterSpec&) {
    return absl::InvalidArgumentError("8 layers do not fit into 1 byte");
  };
  Restart();
  ASSERT_TRUE(Submit().ok());
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker).ok());
  EXPECT_EQ(View().state, JobState::kFailed);
  EXPECT_THAT(View().reason.sentence, HasSubstr("do not fit into 1 byte"));
  EXPECT_EQ(View().exit_code, ExitCode::kBadSpec);
}

TEST_F(CoordinatorTest, RunsAJobToItsEndAndFreesItsWorkersForTheNext) {
  Train();
  ASSERT_TRUE(Submit("", "next").ok());
  EXPECT_EQ(View("jobs/next").state, JobState::kQueued);
  for (const int rank : {0, 1}) ASSERT_TRUE(Say(rank, Exited(1, rank, ExitCode::kDone)).ok());
  EXPECT_EQ(View().state, JobState::kSucceeded);
  EXPECT_THAT(link(0).Of<JobEnded>(), SizeIs(1));
  EXPECT_EQ(View("jobs/next").state, JobState::kStarting);
}

TEST_F(CoordinatorTest, MeetsWhenAllRanksHaveCome) {
  Train();
  ASSERT_TRUE(Say(1, Meet{"jobs/tiny", 1, 1, "addresses", "b"}).ok());
  EXPECT_THAT(link(1).Of<MeetResult>(), IsEmpty());
  ASSERT_TRUE(Say(0, Meet{"jobs/tiny", 1, 0, "addresses", "a"}).ok());
  for (const int worker : {0, 1}) {
    const std::vector<MeetResult> results = link(worker).Of<MeetResult>();
    ASSERT_THAT(results, SizeIs(1));
    EXPECT_EQ(results[0].key, "addresses");
    EXPECT_THAT(results[0].bytes, ElementsAre("a", "b"));
  }
}

TEST_F(CoordinatorTest, AnswersOneWhoMeetsAgainAloneAndKeepsKeysApart) {
  Train();
  for (const int rank : {0, 1}) {
    ASSERT_TRUE(Say(rank, Meet{"jobs/tiny", 1, rank, "addresses", "x"}).ok());
  }
  link(0).Take();
  link(1).Take();
  ASSERT_TRUE(Say(0, Meet{"jobs/tiny", 1, 0, "addresses", "x"}).ok());
  EXPECT_THAT(link(0).Of<MeetResult>(), SizeIs(1));
  EXPECT_THAT(link(1).Of<MeetResult>(), IsEmpty());
  ASSERT_TRUE(Say(0, Meet{"jobs/tiny", 1, 0, "other", "x"}).ok());
  EXPECT_THAT(link(0).Of<MeetResult>(), SizeIs(1)) << "rank 1 has not met under this key";
}

TEST_F(CoordinatorTest, RefusesAnOlderLifeOfAWorker) {
  Train();
  ASSERT_TRUE(Say(0, 9, Hello{}).ok());
  ASSERT_TRUE(Say(0, 9, Stepped(1, 0, 5)).ok());
  EXPECT_THAT(link(0).Of<Refused>(), SizeIs(2));
  EXPECT_FALSE(View().last_step.has_value());
}

TEST_F(CoordinatorTest, RefusesOneWhoNeverSaidHello) {
  ASSERT_TRUE(Say(0, Heartbeat{}).ok());
  const std::vector<Refused> refused = link(0).Of<Refused>();
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_THAT(refused[0].reason, HasSubstr("workers/w0 has not said hello"));
}

TEST_F(CoordinatorTest, AYoungerLifeEndsTheAttemptOfTheOlder) {
  Train();
  life_[0] = 11;
  ASSERT_TRUE(Greet(0).ok());
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_THAT(View().reason.sentence, HasSubstr("was started anew"));
  EXPECT_THAT(link(1).Of<AbortAttempt>(), SizeIs(1));
  ASSERT_TRUE(Say(1, Exited(1, 1, ExitCode::kInfrastructure)).ok());
  EXPECT_EQ(View().state, JobState::kStarting);
  EXPECT_EQ(View().attempt, 2);
  EXPECT_THAT(link(0).Of<StartAttempt>(), SizeIs(1));
}

TEST_F(CoordinatorTest, AbortsTheRankOfAStaleAttempt) {
  Train();
  life_[0] = 11;
  ASSERT_TRUE(Greet(0).ok());
  ASSERT_TRUE(Say(1, Exited(1, 1, ExitCode::kInfrastructure)).ok());
  link(1).Take();
  ASSERT_TRUE(Say(1, Stepped(1, 1, 7)).ok());
  const std::vector<AbortAttempt> aborts = link(1).Of<AbortAttempt>();
  ASSERT_THAT(aborts, SizeIs(1));
  EXPECT_EQ(aborts[0].attempt, 1);
  EXPECT_FALSE(View().last_step.has_value());
}

TEST_F(CoordinatorTest, LosesASilentWorkerOnlyAtTheEndOfItsLease) {
  Train();
  Pass(absl::Seconds(4));
  ASSERT_TRUE(Say(0, Heartbeat{}).ok());
  Pass(absl::Seconds(1) - absl::Nanoseconds(1));
  EXPECT_EQ(View().state, JobState::kRunning);
  Pass(absl::Nanoseconds(1));
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_THAT(View().reason.sentence, HasSubstr("rank 1 on workers/w1: was silent for 5s"));
  EXPECT_THAT(link(0).Of<AbortAttempt>(), SizeIs(1));
  EXPECT_EQ(coordinator_->ListWorkers()[1].state, WorkerState::kLost);
}

TEST_F(CoordinatorTest, AWorkerThatReconnectsInTimeKeepsItsAttempt) {
  Train();
  coordinator_->Disconnected(&link(0));
  links_[0] = std::make_unique<FakeLink>();
  ASSERT_TRUE(Greet(0, "jobs/tiny", 1).ok());
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_EQ(View().state, JobState::kRunning);
  EXPECT_THAT(link(0).Of<AbortAttempt>(), IsEmpty());
  EXPECT_THAT(link(0).Of<StartAttempt>(), IsEmpty());
}

TEST_F(CoordinatorTest, CancelStopsThenAbortsThenGivesUp) {
  Train();
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok()) << "repeating it is harmless";
  EXPECT_THAT(link(0).Of<StopAttempt>(), SizeIs(1));
  const auto wait = [&](int seconds) {
    for (int second = 0; second < seconds; ++second) {
      clock_.Advance(absl::Seconds(1));
      for (const int worker : {0, 1}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
      ASSERT_TRUE(coordinator_->Tick().ok());
    }
  };
  wait(59);
  EXPECT_THAT(link(0).Of<AbortAttempt>(), IsEmpty());
  wait(1);
  EXPECT_THAT(link(0).Of<AbortAttempt>(), SizeIs(1));
  wait(10);
  EXPECT_EQ(View().state, JobState::kCancelled);
  EXPECT_EQ(coordinator_->Cancel("jobs/other").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CoordinatorTest, RepeatingARequestIdReturnsTheFirstJob) {
  const absl::StatusOr<JobView> first = Submit("one");
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::StatusOr<JobView> again = Submit("one");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name, first->name);
  EXPECT_EQ(again->last_event_id, first->last_event_id);
  EXPECT_EQ(Submit("one", "other").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Submit("two").status().code(), absl::StatusCode::kAlreadyExists) << "tiny lives";
  Restart();
  const absl::StatusOr<JobView> later = Submit("one");
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_EQ(later->name, "jobs/tiny");
}

TEST_F(CoordinatorTest, NumbersANameThatAnEndedJobHas) {
  ASSERT_TRUE(Submit().ok());
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  const absl::StatusOr<JobView> second = Submit();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->name, "jobs/tiny-2");
  EXPECT_EQ(second->output_directory, "runs/tiny-2");
}

TEST_F(CoordinatorTest, GivesEachJobADirectoryInTheParentThatIsNamed) {
  SubmitRequest request;
  request.spec = TwoRanks();
  request.request_id = "one";
  request.output_directory = "/shared/runs/";
  EXPECT_EQ(coordinator_->Submit(request)->output_directory, "/shared/runs/tiny");
  EXPECT_EQ(coordinator_->Submit(request)->name, "jobs/tiny") << "the same request";
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  request.request_id = "two";
  EXPECT_EQ(coordinator_->Submit(request)->output_directory, "/shared/runs/tiny-2");
}

TEST_F(CoordinatorTest, LetsNoTwoLivingJobsWriteToOneDirectory) {
  SubmitRequest request;
  request.spec = TwoRanks();
  request.output_directory = "/out";
  ASSERT_TRUE(coordinator_->Submit(request).ok());
  request.spec = TwoRanks("other");
  EXPECT_EQ(coordinator_->Submit(request).status().message(),
            "output_directory: /out is that of jobs/tiny, which is QUEUED; need another one");
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  EXPECT_TRUE(coordinator_->Submit(request).ok());
}

TEST_F(CoordinatorTest, ReadsUpdatesInOrderFromAnyId) {
  Train();
  for (int step = 1; step <= 5; ++step) ASSERT_TRUE(Say(0, Stepped(1, 0, step)).ok());
  ASSERT_TRUE(coordinator_->Tick().ok());
  const auto all = coordinator_->ReadUpdates("jobs/tiny", 0, 100);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(*all, SizeIs(9));  // created, placed, two ready, five steps
  for (size_t i = 0; i < all->size(); ++i) EXPECT_EQ((*all)[i].id, static_cast<int64_t>(i) + 1);
  EXPECT_EQ((*all)[0].state->state, JobState::kQueued);
  EXPECT_THAT((*all)[1].placed->workers, ElementsAre("workers/w0", "workers/w1"));
  EXPECT_EQ((*all)[8].step->step, 5);
  const auto some = coordinator_->ReadUpdates("jobs/tiny", 4, 2);
  ASSERT_TRUE(some.ok()) << some.status();
  ASSERT_THAT(*some, SizeIs(2));
  EXPECT_EQ((*some)[0].id, 5);
  EXPECT_THAT(*coordinator_->ReadUpdates("jobs/tiny", 9, 10), IsEmpty());
  EXPECT_EQ(coordinator_->ReadUpdates("jobs/tiny", 10, 10).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(coordinator_->ReadUpdates("jobs/none", 0, 10).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(CoordinatorTest, ShowsWatchersOnlyWhatIsDurable) {
  Train();
  const int64_t before = View().last_event_id;
  ASSERT_TRUE(Say(0, Stepped(1, 0, 1)).ok());
  EXPECT_THAT(*coordinator_->ReadUpdates("jobs/tiny", before, 10), IsEmpty());
  EXPECT_EQ(View().last_step->step, 1);
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_THAT(*coordinator_->ReadUpdates("jobs/tiny", before, 10), SizeIs(1));
}

TEST_F(CoordinatorTest, WakesWatchersUntilTheyLeave) {
  Train();
  int wakes = 0;
  std::unique_ptr<Coordinator::Subscription> subscription =
      coordinator_->Subscribe("jobs/tiny", [&] { ++wakes; });
  ASSERT_TRUE(Say(0, Durable(1, 0, 10)).ok());
  EXPECT_EQ(wakes, 1);
  subscription.reset();
  ASSERT_TRUE(Say(1, Durable(1, 1, 10)).ok());
  EXPECT_EQ(wakes, 1);
}

TEST_F(CoordinatorTest, WaitForUpdatesReturnsAtOnceWhenThereAreSome) {
  Train();
  EXPECT_THAT(*coordinator_->WaitForUpdates("jobs/tiny", 0, 1, absl::Hours(1)), SizeIs(1));
  EXPECT_THAT(*coordinator_->WaitForUpdates("jobs/tiny", 4, 1, absl::ZeroDuration()), IsEmpty());
}

TEST_F(CoordinatorTest, AnswersUnavailableAndChangesNothingWhileTheStoreRefuses) {
  Train();
  store_.AllowAppends(0);
  EXPECT_EQ(Say(0, Exited(1, 0, ExitCode::kDone)).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(coordinator_->Cancel("jobs/tiny").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Submit("", "other").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(View().state, JobState::kRunning);
  EXPECT_EQ(coordinator_->GetJob("jobs/other").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(link(0).Take(), IsEmpty()) << "nothing is done about what is not in the log";
  store_.AllowAppends(100);
  for (const int rank : {0, 1}) ASSERT_TRUE(Say(rank, Exited(1, rank, ExitCode::kDone)).ok());
  EXPECT_EQ(View().state, JobState::kSucceeded);
}

TEST_F(CoordinatorTest, ListsJobsNewestFirstByPages) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(Submit("", name).ok());
  ASSERT_TRUE(coordinator_->Cancel("jobs/b").ok());
  const absl::StatusOr<JobPage> first = coordinator_->ListJobs({2, "", {}});
  ASSERT_THAT(first->jobs, SizeIs(2));
  EXPECT_EQ(first->jobs[0].name, "jobs/c");
  const absl::StatusOr<JobPage> second = coordinator_->ListJobs({2, first->next_page_token, {}});
  ASSERT_THAT(second->jobs, SizeIs(1));
  EXPECT_EQ(second->jobs[0].name, "jobs/a");
  EXPECT_EQ(second->next_page_token, "");
  EXPECT_THAT(coordinator_->ListJobs({0, "", {JobState::kCancelled}})->jobs, SizeIs(1));
  EXPECT_EQ(coordinator_->ListJobs({-1, "", {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(coordinator_->ListJobs({1, "x", {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(CoordinatorTest, GivesTheNextAttemptOnTheSameShapeTheSamePlan) {
  EXPECT_EQ(Submit().ok(), true);
  EXPECT_EQ(coordinator_->GetPlan("jobs/tiny").status().code(),
            absl::StatusCode::kFailedPrecondition);
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker).ok());
  ASSERT_TRUE(coordinator_->GetPlan("jobs/tiny").ok());
  const std::string hash = View().plan_hash;
  for (const int rank : {0, 1}) {
    ASSERT_TRUE(Say(rank, Exited(1, rank, ExitCode::kInfrastructure)).ok());
  }
  EXPECT_EQ(View().attempt, 2);
  EXPECT_EQ(View().plan_hash, hash);
  EXPECT_EQ(PlanHash(*coordinator_->GetPlan("jobs/tiny")), hash);
}

TEST_F(CoordinatorTest, CountsTheFleet) {
  Train();
  ASSERT_TRUE(Greet(2).ok());
  ASSERT_TRUE(Submit("", "waits").ok());
  StepDone done = Stepped(1, 0, 1);
  done.report.step_seconds = 0.02;
  done.report.total_tokens = 512;
  ASSERT_TRUE(Say(0, done).ok());
  const FleetMetrics metrics = coordinator_->Metrics();
  EXPECT_EQ(metrics.workers_busy, 2);
  EXPECT_EQ(metrics.workers_idle, 1);
  EXPECT_EQ(metrics.queue_length, 1);
  ASSERT_THAT(metrics.jobs, SizeIs(2));
  EXPECT_EQ(metrics.jobs[0].tokens_total, 512);
  EXPECT_THAT(metrics.jobs[0].step_seconds.counts(),
              ElementsAre(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0));
}

}  // namespace
}  // namespace birkhoff
