// The life of a job as pure state: each transition, each refusal.
#include "coordinator/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
