// A coordinator that dies at every append of a job's life: before the event is durable, after it
// is, or with a disk that had only promised it.  Workers come back, name their attempt and say
// everything again, and the job goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/coordinator/fleet.h"

namespace birkhoff {
namespace {

enum class Death { kBeforeAppend, kAfterAppend, kEventForgotten };

// A rank as the coordinator sees it: says its lines in order, and all of them again to a new
// coordinator, until it hears that the job is over.
struct Rank {
  int attempt = 0;
  bool commits = false;  // CommitCheckpoint came
  size_t said = 0;       // lines

  std::vector<WorkerPayload> Lines(int rank) const {
    if (attempt == 0) return {};
    std::vector<WorkerPayload> lines{Ready(attempt, rank), Stepped(attempt, rank, 1),
                                     Stepped(attempt, rank, 2), Durable(attempt, rank, 2)};
    if (rank == 0 && !commits) return lines;
    if (rank == 0) lines.push_back(Committed(attempt, 2));
    lines.push_back(Exited(attempt, rank, ExitCode::kDone));
    return lines;
  }
  void Hear(const CoordinatorMessage& message) {
    if (const auto* start = std::get_if<StartAttempt>(&message)) {
      if (start->assignment.attempt != attempt) *this = {start->assignment.attempt};
    } else if (std::holds_alternative<CommitCheckpoint>(message)) {
      commits = true;
    } else if (const auto* abort = std::get_if<AbortAttempt>(&message)) {
      if (abort->attempt == attempt) *this = {};
    }
  }
};

class ReplayTest : public Fleet {
 protected:
  // Runs one job, with one death at append number `at`; false: it was never reached.
  bool Live(Death death, int at) {
    Arm(death, at);
    Connect();
    for (int round = 0; round < 200 && !Over(); ++round) {
      Act(round % 2);
      if (store_.died()) Revive(death);
    }
    return store_.deaths() > 0;
  }
  bool Over() {
    const absl::StatusOr<JobView> view = coordinator_->GetJob("jobs/tiny");
    return view.ok() && IsOver(view->state);
  }

 private:
  void Arm(Death death, int at) { store_.DieAt(at, /*keep=*/death != Death::kBeforeAppend); }
  void Connect() {
    for (const int worker : {0, 1}) {
      const int attempt = ranks_[worker].attempt;
      (void)Greet(worker, attempt > 0 ? "jobs/tiny" : "", attempt);
      ranks_[worker].said = 0;
    }
    (void)Submit("once");
  }
  void Act(int worker) {
    Rank& rank = ranks_[worker];
    for (const CoordinatorMessage& message : link(worker).Take()) rank.Hear(message);
    const std::vector<WorkerPayload> lines = rank.Lines(worker);
    if (rank.said < lines.size()) (void)Say(worker, lines[rank.said++]);
  }
  void Revive(Death death) {
    if (death == Death::kEventForgotten) store_.Lose(store_.last_batch());
    store_.Repair();
    Restart();
    Connect();
  }

  Rank ranks_[2];
};

// One life of a fleet; TestBody is what gtest asks of a fixture outside a test.
class Life final : public ReplayTest {
 public:
  using Fleet::View;
  using ReplayTest::Live;
  using ReplayTest::Over;
  absl::StatusOr<std::vector<JobUpdate>> Updates() {
    return coordinator_->ReadUpdates("jobs/tiny", 0, 1000);
  }

 private:
  void TestBody() override {}
};

class ReplayAfter : public ::testing::TestWithParam<Death> {};
INSTANTIATE_TEST_SUITE_P(Deaths, ReplayAfter,
                         ::testing::Values(Death::kBeforeAppend, Death::kAfterAppend,
                                           Death::kEventForgotten));

TEST_P(ReplayAfter, EveryAppendAJobGoesOnToItsEnd) {
  bool died = true;
  int at = 0;
  while (died && at < 100) {
    SCOPED_TRACE(++at);
    Life life;
    died = life.Live(GetParam(), at);
    ASSERT_TRUE(life.Over());
    ASSERT_EQ(life.View().state, JobState::kSucceeded) << life.View().reason.sentence;
    ASSERT_EQ(life.View().checkpoint->step, 2);
    const absl::StatusOr<std::vector<JobUpdate>> updates = life.Updates();
    ASSERT_TRUE(updates.ok()) << updates.status();
    for (size_t i = 1; i < updates->size(); ++i) {
      ASSERT_EQ((*updates)[i].id, (*updates)[i - 1].id + 1);
    }
  }
  EXPECT_GE(at, 9) << "created, placed, two ready, two shards, commit, two exits";
  EXPECT_FALSE(died);
}

TEST_F(ReplayTest, RestartsInTheMiddleOfARestartDelay) {
  Train();
  for (int attempt = 1; attempt <= 2; ++attempt) {
    for (const int rank : {0, 1}) {
      ASSERT_TRUE(Say(rank, Exited(attempt, rank, ExitCode::kInfrastructure)).ok());
    }
  }
  clock_.Advance(absl::Milliseconds(100));
  ASSERT_TRUE(coordinator_->Tick().ok());
  ASSERT_EQ(View().attempt, 3) << View().reason.sentence;
  Restart();
  EXPECT_EQ(View().attempt, 3);
  EXPECT_EQ(View().restarts, 2);
}

TEST_F(ReplayTest, GivesEveryWorkerOneFullLeaseToComeBack) {
  Train();
  clock_.Advance(absl::Hours(1));
  Restart();
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_EQ(View().state, JobState::kRunning);
  Pass(absl::Seconds(4));
  ASSERT_TRUE(Greet(0, "jobs/tiny", 1).ok());
  Pass(absl::Seconds(1));
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_THAT(View().reason.sentence, ::testing::HasSubstr("workers/w1"));
}

TEST_F(ReplayTest, KeepsTheLastStepAndTheHistory) {
  Train();
  for (int step = 1; step <= 3; ++step) ASSERT_TRUE(Say(0, Stepped(1, 0, step)).ok());
  ASSERT_TRUE(coordinator_->Tick().ok());
  const int64_t last = View().last_event_id;
  Restart();
  EXPECT_EQ(View().last_event_id, last);
  EXPECT_EQ(View().last_step->step, 3);
  EXPECT_EQ(View().state, JobState::kRunning);
  EXPECT_EQ(coordinator_->ReadUpdates("jobs/tiny", 0, 100)->size(), static_cast<size_t>(last));
}

TEST_F(ReplayTest, RefusesALogWithAnEventThatDoesNotFitOrCannotBeRead) {
  Train();
  store_.damage()[1].body = "{}";
  const auto unreadable = Coordinator::Create(FleetOptions(), clock_, store_, EmptyPlan);
  EXPECT_EQ(unreadable.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(unreadable.status().message(), ::testing::HasSubstr("event 2 of jobs/tiny"));
  store_.damage().erase(store_.damage().begin() + 1);
  const auto gap = Coordinator::Create(FleetOptions(), clock_, store_, EmptyPlan);
  EXPECT_EQ(gap.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(gap.status().message(), ::testing::HasSubstr("does not fit"));
}

}  // namespace
}  // namespace birkhoff
