// The life of a job as pure state: each transition, each refusal.
#include "coordinator/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/coordinator/job_events.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Matcher;
using ::testing::SizeIs;
using ::testing::VariantWith;

constexpr absl::Duration kStopGrace = absl::Seconds(60);
constexpr absl::Duration kAbortGrace = absl::Seconds(10);

template <typename Message>
Matcher<const JobEffect&> Sends(int rank) {
  return VariantWith<SendToRank>(
      AllOf(Field(&SendToRank::rank, rank),
            Field(&SendToRank::message, VariantWith<Message>(::testing::_))));
}
Matcher<const JobEffect&> Starts(int rank) {
  return VariantWith<StartRank>(Field(&StartRank::rank, rank));
}
Matcher<const JobEffect&> Releases(int rank) {
  return VariantWith<ReleaseRank>(Field(&ReleaseRank::rank, rank));
}

// A job of two ranks that may lose two attempts in a row.
class JobTest : public ::testing::Test {
 protected:
  std::vector<JobEffect> Step(const JobEvent& event) {
    absl::StatusOr<std::vector<JobEffect>> effects = job_.Step(now_, event);
    EXPECT_TRUE(effects.ok()) << effects.status();
    return effects.ok() ? *std::move(effects) : std::vector<JobEffect>{};
  }
  // The event must be refused, and leave no trace.
  void Refuse(absl::StatusCode code, const JobEvent& event) {
    const std::string before = job_.ToString();
    const absl::Status status = job_.Step(now_, event).status();
    EXPECT_EQ(status.code(), code) << status << "\n" << before;
    EXPECT_EQ(job_.ToString(), before);
  }
  void Run(int attempt) {
    Step(Placed(attempt));
    Step(Ready(attempt, 0));
    Step(Ready(attempt, 1));
    ASSERT_EQ(job_.state(), JobState::kRunning) << job_.ToString();
  }
  void LoseAttempt(int attempt) {
    Step(WorkerLost{attempt, 0, "was silent"});
    Step(Exited(attempt, 1, ExitCode::kInfrastructure));
  }

  Instant now_{1'000'000'000};
  Job job_{"jobs/tiny", {kStopGrace, kAbortGrace}};
};

TEST_F(JobTest, RunsToItsEnd) {
  EXPECT_THAT(Step(Created()), IsEmpty());
  EXPECT_EQ(job_.state(), JobState::kQueued);
  EXPECT_TRUE(job_.WantsWorkers(now_));
  EXPECT_THAT(Step(Placed(1)), ElementsAre(Starts(0), Starts(1)));
  EXPECT_EQ(job_.state(), JobState::kStarting);
  EXPECT_FALSE(job_.WantsWorkers(now_));
  Step(Ready(1, 1));
  EXPECT_EQ(job_.state(), JobState::kStarting);
  Step(Ready(1, 0));
  EXPECT_EQ(job_.state(), JobState::kRunning);
  Step(Stepped(1, 0, 1));
  EXPECT_EQ(job_.last_step()->step, 1);
  EXPECT_THAT(Step(Exited(1, 0, ExitCode::kDone)), ElementsAre(Releases(0)));
  EXPECT_EQ(job_.state(), JobState::kRunning);
  EXPECT_THAT(Step(Exited(1, 1, ExitCode::kDone)),
              ElementsAre(Releases(1), Sends<JobEnded>(0), Sends<JobEnded>(1)));
  EXPECT_EQ(job_.state(), JobState::kSucceeded);
  EXPECT_EQ(job_.exit_code(), ExitCode::kDone);
}

TEST_F(JobTest, NeedsToBeCreatedFirstAndOnce) {
  Refuse(absl::StatusCode::kFailedPrecondition, CancelRequested{});
  Refuse(absl::StatusCode::kInvalidArgument, JobCreated{});
  Step(Created());
  Refuse(absl::StatusCode::kAlreadyExists, Created());
}

TEST_F(JobTest, LosesAWorkerAndGoesOnInTheNextAttempt) {
  Step(Created());
  Run(1);
  EXPECT_THAT(Step(WorkerLost{1, 1, "was silent for 5s"}),
              ElementsAre(Releases(1), Sends<AbortAttempt>(0)));
  EXPECT_EQ(job_.state(), JobState::kRecovering);
  EXPECT_EQ(job_.reason(), (JobReason{"WORKER_LOST", "rank 1 on workers/w1: was silent for 5s"}));
  EXPECT_FALSE(job_.WantsWorkers(now_)) << "rank 0 has not confirmed that it is gone";
  EXPECT_THAT(Step(Exited(1, 0, ExitCode::kInfrastructure)), ElementsAre(Releases(0)));
  EXPECT_TRUE(job_.WantsWorkers(now_)) << "the first restart is immediate";
  EXPECT_EQ(job_.restarts(), 1);
  Run(2);
  EXPECT_EQ(job_.attempt(), 2);
}

TEST_F(JobTest, WaitsLongerBeforeEachFurtherRestart) {
  Step(Created());
  Run(1);
  LoseAttempt(1);
  Run(2);
  LoseAttempt(2);
  EXPECT_FALSE(job_.WantsWorkers(now_ + absl::Milliseconds(99)));
  EXPECT_TRUE(job_.WantsWorkers(now_ + absl::Milliseconds(100)));
}

// A replay sees all events at one instant.
TEST_F(JobTest, TakesALoggedPlacementEvenBeforeTheRestartDelayIsOver) {
  Step(Created());
  Run(1);
  LoseAttempt(1);
  Run(2);
  LoseAttempt(2);
  EXPECT_THAT(Step(Placed(3)), SizeIs(2));
}

TEST_F(JobTest, GivesAnAbortedRankUpWhenTheAbortGraceIsOver) {
  Step(Created());
  Run(1);
  Step(WorkerLost{1, 1, "was silent"});
  EXPECT_FALSE(job_.Due(now_ + (kAbortGrace - absl::Nanoseconds(1))).has_value());
  ASSERT_TRUE(job_.Due(now_ + kAbortGrace).has_value());
  EXPECT_THAT(Step(*job_.Due(now_ + kAbortGrace)), ElementsAre(Releases(0)));
  EXPECT_TRUE(job_.WantsWorkers(now_));
  EXPECT_FALSE(job_.Due(now_ + absl::Hours(1)).has_value());
}

TEST_F(JobTest, FailsWithoutRetryWhenARankRefusesTheSpecOrGivesUpOnNumerics) {
  for (const auto& [code, reason] :
       {std::pair(ExitCode::kBadSpec, "BAD_SPEC"), std::pair(ExitCode::kNumerics, "NUMERICS")}) {
    job_ = Job("jobs/tiny", {kStopGrace, kAbortGrace});
    Step(Created());
    Run(1);
    EXPECT_THAT(Step(Exited(1, 0, code)), ElementsAre(Releases(0), Sends<AbortAttempt>(1)));
    Step(Exited(1, 1, ExitCode::kInfrastructure));
    EXPECT_EQ(job_.state(), JobState::kFailed);
    EXPECT_EQ(job_.exit_code(), code);
    EXPECT_EQ(job_.reason().code, reason);
    EXPECT_FALSE(job_.WantsWorkers(now_ + absl::Hours(1)));
  }
}

TEST_F(JobTest, FailsWhenItsRestartsAreUsedUp) {
  Step(Created());
  for (int attempt = 1; attempt <= 3; ++attempt) {
    EXPECT_FALSE(IsOver(job_.state()));
    now_ = now_ + absl::Minutes(1);
    Run(attempt);
    LoseAttempt(attempt);
  }
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.exit_code(), ExitCode::kInfrastructure);
  EXPECT_EQ(job_.reason().code, "RESTARTS_USED_UP");
  EXPECT_THAT(job_.reason().sentence, HasSubstr("was silent"));
}

TEST_F(JobTest, NamesABugWhenRestartsAreUsedUpByInternalErrors) {
  Step(Created());
  for (int attempt = 1; attempt <= 3; ++attempt) {
    now_ = now_ + absl::Minutes(1);
    Run(attempt);
    Step(Exited(attempt, 0, ExitCode::kInternal));
    Step(Exited(attempt, 1, ExitCode::kInfrastructure));
  }
  EXPECT_EQ(job_.exit_code(), ExitCode::kInternal);
}

TEST_F(JobTest, EndsAnAttemptThatStandsStillAndNamesTheRank) {
  for (const bool ready : {false, true}) {
    job_ = Job("jobs/tiny", {kStopGrace, kAbortGrace});
    Step(Created());
    ready ? Run(1) : (void)Step(Placed(1));
    EXPECT_THAT(Step(AttemptStuck{1, 1, "has not moved for 21m: opens x"}),
                ElementsAre(Sends<AbortAttempt>(0), Sends<AbortAttempt>(1)));
    EXPECT_EQ(job_.state(), JobState::kRecovering);
    EXPECT_EQ(job_.reason(),
              (JobReason{"NO_PROGRESS", "rank 1 on workers/w1 has not moved for 21m: opens x"}));
    Refuse(absl::StatusCode::kFailedPrecondition, AttemptStuck{1, 0, "said twice"});
    Step(Exited(1, 0, ExitCode::kInfrastructure));
    EXPECT_EQ(job_.reason().code, "NO_PROGRESS") << "that is why it was killed";
    now_ = now_ + kAbortGrace;
    EXPECT_THAT(Step(*job_.Due(now_)), ElementsAre(Releases(1))) << "one that cannot be killed";
    EXPECT_EQ(job_.restarts(), 1);
    EXPECT_TRUE(job_.WantsWorkers(now_));
  }
}

TEST_F(JobTest, FailsWhenItStandsStillAgainAndAgain) {
  Step(Created());
  for (int attempt = 1; attempt <= 3; ++attempt) {
    now_ = now_ + absl::Minutes(1);
    Run(attempt);
    Step(AttemptStuck{attempt, 1, "has not moved"});
    for (const int rank : {0, 1}) Step(Exited(attempt, rank, ExitCode::kInfrastructure));
  }
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.exit_code(), ExitCode::kInfrastructure);
  EXPECT_THAT(job_.reason().sentence, HasSubstr("has not moved"));
}

TEST_F(JobTest, AnAttemptThatEndsAlreadyIsNotStuck) {
  Step(Created());
  Run(1);
  Step(CancelRequested{});
  Refuse(absl::StatusCode::kFailedPrecondition, AttemptStuck{1, 0, "has not moved"});
}

RankExited DiskFull(int attempt, int rank) {
  RankExited full = Exited(attempt, rank, ExitCode::kInfrastructure);
  full.reason = "/out/metrics.jsonl: write: No space left on device";
  full.disk = true;
  return full;
}

// Two lost attempts in a row would be its end.
TEST_F(JobTest, ADiskHasAReasonAndABudgetOfItsOwn) {
  Step(Created());
  absl::Duration waited;
  int attempt = 1;
  for (; job_.state() != JobState::kFailed && attempt < 100; ++attempt) {
    const Instant before = now_;
    while (!job_.WantsWorkers(now_)) now_ = now_ + absl::Milliseconds(100);
    EXPECT_LE(now_ - before, absl::Minutes(1)) << "a minute at most";
    waited += now_ - before;
    Run(attempt);
    Step(DiskFull(attempt, 0));
    EXPECT_EQ(job_.reason().code, "DISK_TROUBLE");
    Step(Exited(attempt, 1, ExitCode::kInfrastructure));
  }
  EXPECT_GE(waited, absl::Minutes(15));
  EXPECT_LE(waited, absl::Minutes(17));
  EXPECT_EQ(job_.exit_code(), ExitCode::kInfrastructure);
  EXPECT_EQ(job_.reason().code, "DISK_TROUBLE");
  EXPECT_THAT(job_.reason().sentence, HasSubstr("21 attempts were lost in a row to a disk"));
  EXPECT_THAT(job_.reason().sentence, HasSubstr("No space left on device"));
}

TEST_F(JobTest, ADiskSpendsNothingOfTheOtherBudgetAndStartsAnewAfterACheckpoint) {
  Step(Created());
  for (int attempt = 1; attempt <= 39; ++attempt) {
    now_ = now_ + absl::Minutes(1);
    Run(attempt);
    if (attempt == 20) Step(Committed(attempt, 10));
    Step(DiskFull(attempt, 0));
    Step(Exited(attempt, 1, ExitCode::kInfrastructure));
    ASSERT_EQ(job_.state(), JobState::kRecovering) << attempt;
  }
  EXPECT_EQ(job_.restarts(), 39);
}

// Peers of a rank that dies lose their connections, and may say so first.
TEST_F(JobTest, ADiskIsTheReasonAlsoWhereItsPeersSpokeFirst) {
  Step(Created());
  Run(1);
  Step(Exited(1, 1, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.reason().code, "RANK_FAILED");
  Step(DiskFull(1, 0));
  EXPECT_EQ(
      job_.reason(),
      (JobReason{"DISK_TROUBLE",
                 "rank 0 on workers/w0: /out/metrics.jsonl: write: No space left on device"}));
  EXPECT_FALSE(job_.WantsWorkers(now_)) << "a full disk is not empty at once";
  EXPECT_TRUE(job_.WantsWorkers(now_ + absl::Seconds(1)));
}

TEST_F(JobTest, WithoutRestartsADiskEndsItToo) {
  JobCreated created = Created();
  JobSpec spec = TwoRanks();
  spec.stability.max_restarts = 0;
  created.spec = std::make_shared<const JobSpec>(spec);
  Step(created);
  Run(1);
  Step(DiskFull(1, 0));
  Step(Exited(1, 1, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.state(), JobState::kFailed);
}

TEST_F(JobTest, CountsRestartsAnewAfterANewCheckpoint) {
  Step(Created());
  for (int attempt = 1; attempt <= 8; ++attempt) {
    now_ = now_ + absl::Minutes(1);
    Run(attempt);
    Step(Committed(attempt, 10 * attempt));
    LoseAttempt(attempt);
    ASSERT_EQ(job_.state(), JobState::kRecovering);
  }
  EXPECT_EQ(job_.restarts(), 8);
}

TEST_F(JobTest, CommitsACheckpointOnlyOnceAllShardsAreDurable) {
  Step(Created());
  Run(1);
  EXPECT_THAT(Step(Durable(1, 1, 10)), IsEmpty());
  EXPECT_THAT(Step(Durable(1, 1, 20)), IsEmpty());
  const std::vector<JobEffect> effects = Step(Durable(1, 0, 10));
  ASSERT_THAT(effects, ElementsAre(Sends<CommitCheckpoint>(0)));
  const auto& commit = std::get<CommitCheckpoint>(std::get<SendToRank>(effects[0]).message);
  EXPECT_EQ(commit.step, 10);
  ASSERT_THAT(commit.shards, SizeIs(2));
  EXPECT_EQ(commit.shards[1].rank, 1);
  EXPECT_EQ(commit.shards[1].file, "rank-1.shard");
  EXPECT_FALSE(job_.checkpoint().has_value());
  Step(Committed(1, 10));
  EXPECT_EQ(job_.checkpoint()->step, 10);
  Refuse(absl::StatusCode::kAlreadyExists, Durable(1, 0, 10));
  Refuse(absl::StatusCode::kAlreadyExists, Committed(1, 10));
}

TEST_F(JobTest, TakesNoShardOfAnAttemptThatIsBeingAborted) {
  Step(Created());
  Run(1);
  Step(Durable(1, 0, 10));
  Step(WorkerLost{1, 0, "was silent"});
  Refuse(absl::StatusCode::kAborted, Durable(1, 1, 10));
}

TEST_F(JobTest, ForgetsHalfACheckpointWithItsAttempt) {
  Step(Created());
  Run(1);
  Step(Durable(1, 0, 10));
  LoseAttempt(1);
  Run(2);
  EXPECT_THAT(Step(Durable(2, 1, 10)), IsEmpty()) << "rank 0's shard was attempt 1's";
}

TEST_F(JobTest, CancelsAtOnceWhileNothingRuns) {
  Step(Created());
  EXPECT_THAT(Step(CancelRequested{}), IsEmpty());
  EXPECT_EQ(job_.state(), JobState::kCancelled);
  Refuse(absl::StatusCode::kAlreadyExists, CancelRequested{});
}

TEST_F(JobTest, AbortsAnAttemptThatIsCancelledBeforeItRuns) {
  Step(Created());
  Step(Placed(1));
  EXPECT_THAT(Step(CancelRequested{}), ElementsAre(Sends<AbortAttempt>(0), Sends<AbortAttempt>(1)));
  EXPECT_EQ(job_.state(), JobState::kCancelling);
}

TEST_F(JobTest, CancelsARunningAttemptByACleanStop) {
  Step(Created());
  Run(1);
  EXPECT_THAT(Step(CancelRequested{}), ElementsAre(Sends<StopAttempt>(0), Sends<StopAttempt>(1)));
  EXPECT_EQ(job_.state(), JobState::kCancelling);
  Refuse(absl::StatusCode::kAlreadyExists, CancelRequested{});
  Step(Exited(1, 0, ExitCode::kStopped));
  Step(Exited(1, 1, ExitCode::kStopped));
  EXPECT_EQ(job_.state(), JobState::kCancelled);
  EXPECT_EQ(job_.exit_code(), ExitCode::kStopped);
}

TEST_F(JobTest, CancelAbortsAfterOneGraceAndGivesUpAfterTheOther) {
  Step(Created());
  Run(1);
  Step(CancelRequested{});
  EXPECT_FALSE(job_.Due(now_ + (kStopGrace - absl::Nanoseconds(1))).has_value());
  now_ = now_ + kStopGrace;
  EXPECT_THAT(Step(job_.Due(now_).value()),
              ElementsAre(Sends<AbortAttempt>(0), Sends<AbortAttempt>(1)));
  EXPECT_FALSE(job_.Due(now_).has_value());
  now_ = now_ + kAbortGrace;
  EXPECT_THAT(Step(job_.Due(now_).value()),
              ElementsAre(Releases(0), Releases(1), Sends<JobEnded>(0), Sends<JobEnded>(1)));
  EXPECT_EQ(job_.state(), JobState::kCancelled);
  EXPECT_EQ(job_.exit_code(), ExitCode::kInfrastructure);
}

TEST_F(JobTest, AFailedCheckpointIsNewsOnceAndChangesNothing) {
  Step(Created());
  Run(1);
  const CheckpointFailed failed{"jobs/tiny", 1, 1, 10, "disk full"};
  EXPECT_THAT(Step(failed), IsEmpty());
  EXPECT_EQ(job_.state(), JobState::kRunning);
  Refuse(absl::StatusCode::kAlreadyExists, failed);
  EXPECT_THAT(Step(CheckpointFailed{"jobs/tiny", 1, 0, 10, "disk full"}), IsEmpty());
  Step(Durable(1, 0, 20));
  EXPECT_THAT(Step(Durable(1, 1, 20)), ElementsAre(Sends<CommitCheckpoint>(0)));
}

TEST_F(JobTest, SaysWhichCheckpointsWerePassedOver) {
  Step(Created());
  Step(Placed(1));
  Step(Ready(1, 0));
  Step(RankReady{"jobs/tiny", 1, 1, 20, "step-00000030: damaged"});
  EXPECT_EQ(
      job_.reason().sentence,
      "attempt 1 trains on from the checkpoint of step 20; passed over: step-00000030: damaged");
}

TEST_F(JobTest, SaysWhatHasChangedSinceTheRunThatItGoesOnWith) {
  Step(Created());
  Step(Placed(1));
  Step(Ready(1, 0));
  Step(RankReady{"jobs/tiny", 1, 1, 20, "step-00000030: damaged", "changed since: name: a there"});
  EXPECT_EQ(job_.reason().sentence,
            "attempt 1 trains on from the checkpoint of step 20; passed over: step-00000030: "
            "damaged; changed since: name: a there");
}

TEST_F(JobTest, CancelWhileStartingLosesNothing) {
  Step(Created());
  Step(Placed(1));
  Step(Ready(1, 0));
  EXPECT_THAT(Step(CancelRequested{}), ElementsAre(Sends<AbortAttempt>(0), Sends<AbortAttempt>(1)));
  Step(Exited(1, 0, ExitCode::kInfrastructure));
  Step(Exited(1, 1, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.state(), JobState::kCancelled);
  EXPECT_EQ(job_.exit_code(), ExitCode::kStopped);
  EXPECT_EQ(job_.reason().sentence, "stopped before the attempt ran; nothing is lost");
}

TEST_F(JobTest, CancelWhileRecoveringEndsInCancelled) {
  Step(Created());
  Run(1);
  Step(WorkerLost{1, 0, "was silent"});
  EXPECT_THAT(Step(CancelRequested{}), IsEmpty()) << "the abort is out already";
  Step(Exited(1, 1, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.state(), JobState::kCancelled);
}

// Item 36.
TEST_F(JobTest, ACancelledJobSaysWhichCheckpointIsKeptWhereThereIsOne) {
  Step(Created());
  Run(1);
  Step(CancelRequested{});
  for (const int rank : {0, 1}) Step(Exited(1, rank, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.reason().sentence, "stopped without a checkpoint; there was none before");

  job_ = Job{"jobs/tiny", {kStopGrace, kAbortGrace}};
  Step(Created());
  Run(1);
  Step(Committed(1, 20));
  Step(CancelRequested{});
  for (const int rank : {0, 1}) Step(Exited(1, rank, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.reason().sentence, "stopped without a new checkpoint; that of step 20 is kept");

  job_ = Job{"jobs/tiny", {kStopGrace, kAbortGrace}};
  Step(Created());
  Step(Placed(1));
  for (const int rank : {0, 1}) Step(RankReady{"jobs/tiny", 1, rank, 7, ""});
  Step(CancelRequested{});
  for (const int rank : {0, 1}) Step(Exited(1, rank, ExitCode::kInfrastructure));
  EXPECT_EQ(job_.reason().sentence, "stopped without a new checkpoint; that of step 7 is kept");
}

StepDone WithGain(int64_t step, double forward, double backward) {
  StepDone done = Stepped(1, 0, step);
  done.report.gain.forward = forward;
  done.report.gain.backward = backward;
  return done;
}

// Item 29.
TEST_F(JobTest, SaysWhichStepsItsHistoryLacks) {
  Step(Created());
  Run(1);
  EXPECT_THAT(job_.NoticesAbout(Stepped(1, 0, 1)), IsEmpty());
  Step(Stepped(1, 0, 1));
  const std::vector<Noticed> notices = job_.NoticesAbout(Stepped(1, 0, 9));
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_EQ(notices[0].code, "STEPS_MISSING");
  EXPECT_EQ(notices[0].step, 9);
  EXPECT_EQ(notices[0].sentence,
            "steps 2 to 8 are missing here: they were trained while their worker could not be "
            "heard; metrics.jsonl in runs/tiny has them");
  Step(notices[0]);
  EXPECT_THAT(job_.NoticesAbout(Stepped(1, 0, 9)), IsEmpty()) << "once";
  Step(Stepped(1, 0, 9));
  EXPECT_THAT(job_.NoticesAbout(Stepped(1, 0, 9)), IsEmpty()) << "said again after a reconnect";
  EXPECT_THAT(job_.NoticesAbout(Stepped(1, 0, 10)), IsEmpty());
}

// The worker died with its journal; its checkpoint stands.
TEST_F(JobTest, StepsThatDiedWithTheirWorkerAreMissingToo) {
  Step(Created());
  Run(1);
  Step(Stepped(1, 0, 1));
  LoseAttempt(1);
  Step(Placed(2));
  for (const int rank : {0, 1}) Step(RankReady{"jobs/tiny", 2, rank, 5, ""});
  const std::vector<Noticed> notices = job_.NoticesAbout(Stepped(2, 0, 6));
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_THAT(notices[0].sentence, HasSubstr("steps 2 to 5 are missing here"));
}

TEST_F(JobTest, WhatIsTrainedAgainIsNotMissing) {
  Step(Created());
  Step(Placed(1));
  Step(RankReady{"jobs/tiny", 1, 0, 20, ""});
  EXPECT_THAT(job_.NoticesAbout(Stepped(1, 0, 21)), IsEmpty()) << "steps of a run before it";
  for (const int64_t step : {21, 22}) Step(Stepped(1, 0, step));
  Step(RankReady{"jobs/tiny", 1, 1, 20, ""});  // it comes late
  EXPECT_THAT(job_.NoticesAbout(Stepped(1, 0, 23)), IsEmpty());
  LoseAttempt(1);
  Run(2);
  EXPECT_THAT(job_.NoticesAbout(Stepped(2, 0, 1)), IsEmpty());
}

// Item 18.
TEST_F(JobTest, AGainAboveItsBoundIsNewsOnceAndAgainOnceItHasBeenBack) {
  Step(Created());  // stability.max_gain 10
  Run(1);
  int64_t step = 0;
  const auto codes = [&](double forward, double backward) {
    std::vector<std::string> said;
    const StepDone done = WithGain(++step, forward, backward);
    for (const Noticed& notice : job_.NoticesAbout(done)) {
      said.push_back(notice.code);
      Step(notice);
    }
    Step(done);
    return said;
  };
  EXPECT_THAT(codes(10.0, 10.0), IsEmpty()) << "at its bound it is within";
  EXPECT_THAT(codes(1.5, 10.5), ElementsAre("GAIN_ABOVE_BOUND"));
  EXPECT_THAT(codes(37.0, 1.0), IsEmpty());
  EXPECT_THAT(codes(9.5, 9.5), IsEmpty()) << "it wavers";
  EXPECT_THAT(codes(11.0, 1.0), IsEmpty());
  EXPECT_THAT(codes(8.9, 8.9), ElementsAre("GAIN_BACK"));
  EXPECT_THAT(codes(std::nan(""), 1.0), ElementsAre("GAIN_ABOVE_BOUND"));
  EXPECT_THAT(codes(std::nan(""), 1.0), IsEmpty());
  EXPECT_EQ(job_.times_above_bound(), 2);
}

TEST_F(JobTest, SaysOnceThatTheStreamsHaveCollapsedAndThatTheyAreApartAgain) {
  Step(Created());
  Run(1);
  int64_t step = 0;
  const int64_t warmup = JobSpec().lr_schedule.warmup_steps;
  const auto codes = [&](float similarity) {
    std::vector<std::string> said;
    StepDone done = WithGain(++step, 1.0, 1.0);
    done.report.mixing.emplace();
    done.report.mixing->stream_similarity_by_sublayer = {1.0f, similarity};
    for (const Noticed& notice : job_.NoticesAbout(done)) {
      said.push_back(notice.code);
      Step(notice);
    }
    Step(done);
    return said;
  };
  while (step < warmup) EXPECT_THAT(codes(1.0f), IsEmpty()) << "they have had no time to part";
  EXPECT_THAT(codes(0.9f), IsEmpty());
  EXPECT_THAT(codes(0.9995f), ElementsAre("STREAMS_COLLAPSED"));
  EXPECT_THAT(codes(1.0f), IsEmpty());
  EXPECT_THAT(codes(0.995f), IsEmpty()) << "it wavers";
  EXPECT_THAT(codes(std::nanf("")), IsEmpty());
  EXPECT_THAT(codes(0.5f), ElementsAre("STREAMS_APART"));
  EXPECT_THAT(codes(-1.0f), IsEmpty());
}

TEST_F(JobTest, AGainAboveItsBoundNamesItsNumbers) {
  Step(Created());
  Run(1);
  const std::vector<Noticed> notices = job_.NoticesAbout(WithGain(1, 12.345, 3.0));
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_EQ(notices[0].sentence,
            "step 1: composite gain 12.35 forward, 3 backward; stability.max_gain is 10");
}

// Item 36.
TEST_F(JobTest, ARemovedOutputDirectoryIsTheReason) {
  Step(Created());
  Run(1);
  const Noticed removed{"jobs/tiny", 1, 0, kOutputRemoved, 4, "runs/tiny was removed"};
  Step(removed);
  EXPECT_EQ(job_.state(), JobState::kRunning);
  EXPECT_EQ(job_.reason(), (JobReason{"OUTPUT_REMOVED", "runs/tiny was removed"}));
  Refuse(absl::StatusCode::kAlreadyExists, removed);
  Refuse(absl::StatusCode::kInvalidArgument, Noticed{"jobs/tiny", 1, 0, "OTHER", 5, "?"});
}

TEST_F(JobTest, SucceedsWhenItWasDoneBeforeTheCancelReachedIt) {
  Step(Created());
  Run(1);
  Step(CancelRequested{});
  Step(Exited(1, 0, ExitCode::kDone));
  Step(Exited(1, 1, ExitCode::kDone));
  EXPECT_EQ(job_.state(), JobState::kSucceeded);
  Refuse(absl::StatusCode::kFailedPrecondition, CancelRequested{});
}

TEST_F(JobTest, RefusesWhatAnotherAttemptSays) {
  Step(Created());
  Run(1);
  LoseAttempt(1);
  Run(2);
  for (const int attempt : {0, 1, 3}) {
    Refuse(absl::StatusCode::kAborted, Ready(attempt, 0));
    Refuse(absl::StatusCode::kAborted, Stepped(attempt, 0, 1));
    Refuse(absl::StatusCode::kAborted, Durable(attempt, 0, 10));
    Refuse(absl::StatusCode::kAborted, Committed(attempt, 10));
    Refuse(absl::StatusCode::kAborted, Exited(attempt, 0, ExitCode::kDone));
    Refuse(absl::StatusCode::kAborted, WorkerLost{attempt, 0, ""});
    Refuse(absl::StatusCode::kAborted, GraceOver{attempt});
  }
}

TEST_F(JobTest, RefusesWhatWasSaidBefore) {
  Step(Created());
  Run(1);
  Refuse(absl::StatusCode::kAlreadyExists, Ready(1, 0));
  Step(Stepped(1, 0, 2));
  Refuse(absl::StatusCode::kAlreadyExists, Stepped(1, 0, 2));
  Refuse(absl::StatusCode::kAlreadyExists, Stepped(1, 0, 1));
  Step(Durable(1, 0, 10));
  Refuse(absl::StatusCode::kAlreadyExists, Durable(1, 0, 10));
  Refuse(absl::StatusCode::kAlreadyExists, GraceOver{1});
  Step(Exited(1, 0, ExitCode::kDone));
  Refuse(absl::StatusCode::kAlreadyExists, Exited(1, 0, ExitCode::kDone));
  Refuse(absl::StatusCode::kAlreadyExists, WorkerLost{1, 0, ""});
}

TEST_F(JobTest, RefusesRanksAndPlacementsThatDoNotFit) {
  Step(Created());
  AttemptPlaced small = Placed(1);
  small.workers.pop_back();
  Refuse(absl::StatusCode::kInvalidArgument, small);
  Refuse(absl::StatusCode::kAborted, Placed(2));
  Run(1);
  Refuse(absl::StatusCode::kFailedPrecondition, Placed(2));
  Refuse(absl::StatusCode::kFailedPrecondition, PlanRefused{"no"});
  Refuse(absl::StatusCode::kInvalidArgument, Ready(1, 2));
  Refuse(absl::StatusCode::kInvalidArgument, Exited(1, -1, ExitCode::kDone));
}

TEST_F(JobTest, FailsWhenItCannotBePlanned) {
  Step(Created());
  Step(PlanRefused{"workers/w0 has too little memory", ExitCode::kBadSpec});
  EXPECT_EQ(job_.state(), JobState::kFailed);
  EXPECT_EQ(job_.exit_code(), ExitCode::kBadSpec);
  EXPECT_EQ(job_.reason().sentence, "workers/w0 has too little memory");
}

TEST_F(JobTest, IsFreshOnlyUntilItHasRun) {
  JobCreated created = Created();
  created.fresh = true;
  Step(created);
  Step(Placed(1));
  LoseAttempt(1);
  EXPECT_TRUE(job_.fresh()) << "nothing was trained yet";
  Run(2);
  EXPECT_FALSE(job_.fresh()) << "a restart must not throw the work away";
}

TEST_F(JobTest, SaysAgainWhatAReconnectedWorkerMissed) {
  Step(Created());
  Step(Placed(1));
  EXPECT_THAT(job_.Resync(0), ElementsAre(Starts(0)));
  Step(Ready(1, 0));
  Step(Ready(1, 1));
  EXPECT_THAT(job_.Resync(0), IsEmpty());
  Step(Durable(1, 0, 10));
  Step(Durable(1, 1, 10));
  EXPECT_THAT(job_.Resync(0), ElementsAre(Sends<CommitCheckpoint>(0)));
  EXPECT_THAT(job_.Resync(1), IsEmpty()) << "rank 0 commits";
  Step(CancelRequested{});
  EXPECT_THAT(job_.Resync(1), ElementsAre(Sends<StopAttempt>(1)));
  Step(GraceOver{1});
  EXPECT_THAT(job_.Resync(1), ElementsAre(Sends<AbortAttempt>(1)));
  Step(GraceOver{1});
  EXPECT_THAT(job_.Resync(1), ElementsAre(Sends<JobEnded>(1)));
}

}  // namespace
}  // namespace birkhoff
