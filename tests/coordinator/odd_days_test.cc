// Odd days of the coordinator: plans that fail, workers without room, exceptions, a store that refuses,
// a coordinator that stood still, two workers of one name, ten thousand jobs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <new>

#include "tests/coordinator/fleet.h"

namespace birkhoff {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class OddDaysTest : public Fleet {
 protected:
  // Replaces the planner of a coordinator that has planned nothing yet.
  void PlanWith(Coordinator::Planner planner) {
    planner_ = std::move(planner);
    Restart();
  }
};

// Plans only where every worker has more than 100 bytes.
absl::StatusOr<Plan> NeedsRoom(const JobSpec& spec, const ClusterSpec& cluster) {
  for (const WorkerResources& worker : cluster.workers) {
    if (worker.memory_bytes <= 100) {
      return absl::FailedPreconditionError("memory: the fullest worker would need 101 bytes");
    }
  }
  return EmptyPlan(spec, cluster);
}

// Item 27.
TEST_F(OddDaysTest, AnExceptionInThePlannerIsNamedAndHoldsUpNobody) {
  int calls = 0;
  PlanWith([&calls](const JobSpec& spec, const ClusterSpec& cluster) -> absl::StatusOr<Plan> {
    if (spec.name == "tiny" && ++calls == 1) throw std::bad_alloc();
    return EmptyPlan(spec, cluster);
  });
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker).ok());
  ASSERT_TRUE(Submit().ok());
  EXPECT_EQ(View().state, JobState::kQueued);
  EXPECT_EQ(View().reason.code, "PLAN_DEFERRED");
  EXPECT_THAT(View().reason.sentence, HasSubstr("planning: there is no more memory"));
  ASSERT_TRUE(Submit("", "other").ok());
  EXPECT_EQ(View("jobs/other").state, JobState::kStarting) << "others are placed meanwhile";
  for (const int rank : {0, 1}) {
    RankExited done = Exited(1, rank, ExitCode::kDone);
    done.job = "jobs/other";
    ASSERT_TRUE(Say(rank, done).ok());
  }
  for (int second = 0; second < 10; ++second) {
    for (const int worker : {0, 1}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  EXPECT_EQ(View().state, JobState::kStarting) << "and so is this one, later";
}

TEST_F(OddDaysTest, AnExceptionOfTheStoreChangesNothing) {
  Train();
  const int64_t before = View().last_event_id;
  store_.ThrowAtNextAppend();
  EXPECT_THROW(Say(0, Durable(1, 0, 10)).IgnoreError(), std::bad_alloc);
  EXPECT_EQ(View().last_event_id, before);
  ASSERT_TRUE(Say(0, Durable(1, 0, 10)).ok());
  EXPECT_EQ(View().last_event_id, before + 1);
  store_.ThrowAtNextAppend();
  EXPECT_THROW(Submit("", "other").IgnoreError(), std::bad_alloc);
  EXPECT_EQ(coordinator_->GetJob("jobs/other").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Submit("", "other").ok());
  ASSERT_TRUE(Say(0, Stepped(1, 0, 1)).ok());
  store_.ThrowAtNextAppend();
  EXPECT_EQ(coordinator_->Tick().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(coordinator_->Tick().ok());
  Restart();  // the log fits
  EXPECT_EQ(View().state, JobState::kRunning);
}

// Item 13.
TEST_F(OddDaysTest, APlanThatIsRefusedWhileAJobRecoversMakesItWait) {
  bool refuse = false;
  PlanWith([&refuse](const JobSpec& spec, const ClusterSpec& cluster) -> absl::StatusOr<Plan> {
    if (refuse) return absl::InvalidArgumentError("not on these workers");
    return EmptyPlan(spec, cluster);
  });
  Train();
  refuse = true;
  life_[0] = 11;
  ASSERT_TRUE(Greet(0, "", 0, "cpu", 1 << 20).ok());  // it comes back with less memory
  ASSERT_TRUE(Say(1, Exited(1, 1, ExitCode::kInfrastructure)).ok());
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_THAT(View().reason.sentence, HasSubstr("not on these workers"));
  const int64_t events = View().last_event_id;
  for (int second = 0; second < 30; ++second) {
    for (const int worker : {0, 1}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  EXPECT_EQ(View().last_event_id, events) << "the same reason is said once";
  Restart();
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_EQ(View().reason.code, "PLAN_DEFERRED");
  refuse = false;
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker).ok());
  EXPECT_EQ(View().state, JobState::kStarting);
}

// Item 31.
TEST_F(OddDaysTest, AWorkerWithoutRoomIsPassedOver) {
  PlanWith(NeedsRoom);
  ASSERT_TRUE(Greet(0, "", 0, "cpu", 1).ok());
  for (const int worker : {1, 2}) ASSERT_TRUE(Greet(worker, "", 0, "cpu", 1000).ok());
  ASSERT_TRUE(Submit().ok());
  EXPECT_EQ(View().state, JobState::kStarting) << View().reason.sentence;
  EXPECT_THAT(View().workers, ElementsAre("workers/w1", "workers/w2"));
}

TEST_F(OddDaysTest, WhereNobodyHasRoomAJobWaitsAndSaysWhyAndLetsOthersPass) {
  PlanWith([](const JobSpec& spec, const ClusterSpec& cluster) {
    return spec.name == "tiny" ? NeedsRoom(spec, cluster) : EmptyPlan(spec, cluster);
  });
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker, "", 0, "cpu", worker + 1).ok());
  ASSERT_TRUE(Submit().ok());
  EXPECT_EQ(View().state, JobState::kQueued);
  EXPECT_EQ(View().reason.code, "NO_ROOM");
  EXPECT_EQ(View().reason.sentence,
            "waits for 2 workers that can do it: memory: the fullest worker would need 101 bytes");
  ASSERT_TRUE(Submit("", "small").ok());
  EXPECT_EQ(View("jobs/small").state, JobState::kStarting);
  for (const int worker : {2, 3}) ASSERT_TRUE(Greet(worker, "", 0, "cpu", 1000).ok());
  EXPECT_THAT(View().workers, ElementsAre("workers/w2", "workers/w3"));
}

// Item 16.
TEST_F(OddDaysTest, WhatTheStoreSaysShowsUntilItTakesEventsAgain) {
  std::vector<std::string> lines;
  CoordinatorOptions options = FleetOptions();
  options.log = [&](const std::string& line) { lines.push_back(line); };
  coordinator_ = *Coordinator::Create(options, clock_, store_, planner_);
  Train();
  EXPECT_TRUE(coordinator_->StoreStatus().ok());
  store_.AllowAppends(0);
  ASSERT_TRUE(Say(0, Stepped(1, 0, 1)).ok()) << "it waits to be written";
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(absl::IsUnavailable(coordinator_->Tick()));
  EXPECT_TRUE(absl::IsUnavailable(coordinator_->StoreStatus()));
  EXPECT_TRUE(coordinator_->Metrics().store_refuses);
  EXPECT_EQ(std::ranges::count(lines, "the disk is full"), 1) << "once, not at every tick";
  store_.AllowAppends(100);
  EXPECT_TRUE(coordinator_->Tick().ok());
  EXPECT_TRUE(coordinator_->StoreStatus().ok());
  EXPECT_FALSE(coordinator_->Metrics().store_refuses);
  EXPECT_THAT(lines, Contains("job store: it takes events again"));
}

// Items 23 and 36.
TEST_F(OddDaysTest, AJobThatNeedsMoreWorkersThanThereAreSaysSoAndHoldsUpNobody) {
  ASSERT_TRUE(Greet(0).ok());
  ASSERT_TRUE(Submit().ok());  // needs two
  SubmitRequest small;
  small.spec = TwoRanks("small");
  small.spec.parallelism.pipeline_parallel_degree = 1;
  ASSERT_TRUE(coordinator_->Submit(small).ok());
  EXPECT_EQ(View("jobs/small").state, JobState::kQueued) << "the coordinator has just begun";
  EXPECT_THAT(View("jobs/small").reason.sentence,
              HasSubstr("1 of them idle: jobs/tiny goes first"));
  EXPECT_EQ(
      View().reason.sentence,
      "waits for 2 idle workers; there is 1 with device cpu, 1 of them idle: 1 more must come");
  for (int second = 0; second < 60; ++second) {
    ASSERT_TRUE(Say(0, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  EXPECT_EQ(View("jobs/small").state, JobState::kStarting);
  EXPECT_EQ(View().state, JobState::kQueued);
  ASSERT_TRUE(Greet(1).ok());
  EXPECT_EQ(
      View().reason.sentence,
      "waits for 2 idle workers; there are 2 with device cpu, 1 of them idle: the others work "
      "for jobs/small");
}

// Its worker may be on its way back: nobody overtakes it at once.
TEST_F(OddDaysTest, AJobWhoseWorkerWasLostKeepsItsPlaceForAWhile) {
  Train();
  ASSERT_TRUE(Submit("", "other").ok());
  for (int second = 0; second < 80; ++second) {  // w1 has fallen silent
    ASSERT_TRUE(Say(0, Heartbeat{}).ok());
    ASSERT_TRUE(second >= 60 || Say(1, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
    ASSERT_TRUE(second != 70 || Say(0, Exited(1, 0, ExitCode::kInfrastructure)).ok());
  }
  ASSERT_EQ(View().state, JobState::kRecovering);
  EXPECT_THAT(View().reason.sentence,
              HasSubstr("w1: was silent for 5s; waits for 2 idle workers with "
                        "device cpu; there is 1 with device cpu"));
  SubmitRequest small;
  small.spec = TwoRanks("small");
  small.spec.parallelism.pipeline_parallel_degree = 1;
  ASSERT_TRUE(coordinator_->Submit(small).ok());
  EXPECT_EQ(View("jobs/small").state, JobState::kQueued);
  for (int second = 0; second < 60; ++second) {
    ASSERT_TRUE(Say(0, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  EXPECT_EQ(View("jobs/small").state, JobState::kStarting);
}

TEST_F(OddDaysTest, WhoeverWatchesAJobThatWaitsHearsWhyWhenItChanges) {
  ASSERT_TRUE(Submit().ok());
  const auto watch = coordinator_->Subscribe("jobs/tiny", [] {});
  const auto sentences = [this] {
    std::vector<std::string> said;
    for (const JobUpdate& update : Updates()) {
      if (update.state) said.push_back(update.state->reason.sentence);
    }
    return said;
  };
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_THAT(sentences(), ElementsAre("waits for 2 idle workers",
                                       HasSubstr("there are none: 2 more must come")));
  ASSERT_TRUE(Greet(0).ok());
  for (int tick = 0; tick < 3; ++tick) ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_THAT(sentences(), SizeIs(2)) << "not at every change";
  for (int second = 0; second < 11; ++second) {
    ASSERT_TRUE(Say(0, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  EXPECT_THAT(sentences(), SizeIs(3));
  EXPECT_THAT(sentences().back(), HasSubstr("1 of them idle: 1 more must come"));
}

// A hundred thousand of them would be looked at at every tick.
TEST_F(OddDaysTest, JobsThatNeedMoreWorkersThanThereAreCostNothing) {
  ASSERT_TRUE(Greet(0).ok());
  for (int second = 0; second < 60; ++second) {
    ASSERT_TRUE(Say(0, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  const auto seconds_of_ticks = [this] {
    const std::clock_t begin = std::clock();
    for (int i = 0; i < 200; ++i) EXPECT_TRUE(coordinator_->Tick().ok());
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  ASSERT_TRUE(Submit("", "first").ok());
  const double before = seconds_of_ticks();
  for (int job = 0; job < 5000; ++job) ASSERT_TRUE(Submit("", absl::StrCat("j", job).c_str()).ok());
  EXPECT_LT(seconds_of_ticks(), 10 * before + 0.02);
}

// Item 36: with nothing to write, too.
TEST_F(OddDaysTest, AStoreThatIsGoneShowsAtTheNextTickAndSoDoesItsReturn) {
  std::vector<std::string> lines;
  CoordinatorOptions options = FleetOptions();
  options.log = [&](const std::string& line) { lines.push_back(line); };
  coordinator_ = *Coordinator::Create(options, clock_, store_, planner_);
  store_.SetCheck(absl::UnavailableError("birkhoff.db was removed"));
  for (int i = 0; i < 3; ++i) coordinator_->Tick().IgnoreError();
  EXPECT_TRUE(absl::IsUnavailable(coordinator_->StoreStatus()));
  EXPECT_TRUE(coordinator_->Metrics().store_refuses);
  EXPECT_EQ(std::ranges::count(lines, "birkhoff.db was removed"), 1);
  store_.SetCheck(absl::OkStatus());
  EXPECT_TRUE(coordinator_->Tick().ok());
  EXPECT_TRUE(coordinator_->StoreStatus().ok());
  EXPECT_THAT(lines, Contains("job store: it takes events again"));
}

TEST_F(OddDaysTest, ADamagedLogStaysDamagedAndIsNeverTakenForSaidBefore) {
  Train();
  store_.RefuseNextAppend(absl::DataLossError("another event has the number"));
  EXPECT_TRUE(absl::IsUnavailable(Say(0, Durable(1, 0, 10)))) << "the worker keeps its word";
  ASSERT_TRUE(Say(0, Durable(1, 0, 10)).ok());
  EXPECT_TRUE(absl::IsDataLoss(coordinator_->StoreStatus())) << "until somebody has looked";
}

// Item 12.
TEST_F(OddDaysTest, AStallOfTheCoordinatorIsNobodysSilence) {
  Train();
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  Pass(absl::Seconds(1));
  clock_.Advance(absl::Seconds(20));
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_THAT(link(0).Of<AbortAttempt>(), IsEmpty());
  for (const int worker : {0, 1}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
  for (const WorkerView& worker : coordinator_->ListWorkers()) {
    EXPECT_EQ(worker.state, WorkerState::kBusy) << worker.resources.name;
  }
  Pass(absl::Seconds(4));
  EXPECT_EQ(View().state, JobState::kCancelling);
  Pass(absl::Seconds(1));
  EXPECT_EQ(View().state, JobState::kCancelled) << "who stays silent is lost";
}

TEST_F(OddDaysTest, AGraceLastsLongerByTheStallToo) {
  Train();
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  clock_.Advance(absl::Seconds(100));
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_THAT(link(0).Of<AbortAttempt>(), IsEmpty()) << "its checkpoint may wait to be read";
}

// The words of a worker may be read before the first tick; what begins then begins after the stall.
TEST_F(OddDaysTest, WhoDiesAfterAStallIsMissedAfterALease) {
  Train();
  clock_.Advance(absl::Hours(1));
  for (const int worker : {0, 1}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
  Pass(absl::Seconds(4));
  EXPECT_EQ(View().state, JobState::kRunning);
  Pass(absl::Seconds(2));
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_THAT(View().reason.sentence, HasSubstr("was silent for 5s"));
}

TEST_F(OddDaysTest, AGraceThatBeginsAfterAStallIsNoLonger) {
  Train();
  clock_.Advance(absl::Hours(1));
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  for (int second = 0; second < 75; ++second) {
    for (const int worker : {0, 1}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  EXPECT_EQ(View().state, JobState::kCancelled) << "after 60 s for the stop and 10 s for the abort";
}

// Two jobs whose workers are gone: the first one's appends take longer than the second's grace.
TEST_F(OddDaysTest, WhatTheStoreTakesForOneJobIsNotTheGraceOfAnother) {
  for (const int worker : {0, 1, 2, 3}) ASSERT_TRUE(Greet(worker).ok());
  for (const char* name : {"one", "two"}) {
    ASSERT_TRUE(Submit("", name).ok());
    const std::string job = absl::StrCat("jobs/", name);
    const int first = name == std::string("one") ? 0 : 2;
    for (const int rank : {0, 1}) {
      RankReady ready = Ready(1, rank);
      ready.job = job;
      ASSERT_TRUE(Say(first + rank, ready).ok());
    }
    ASSERT_EQ(View(job).state, JobState::kRunning);
  }
  ASSERT_TRUE(coordinator_->Cancel("jobs/two").ok());
  for (int second = 0; second < 4; ++second) {
    for (const int worker : {2, 3}) ASSERT_TRUE(Say(worker, Heartbeat{}).ok());
    Pass(absl::Seconds(1));
  }
  store_.OnAppend([this] { clock_.Advance(absl::Seconds(100)); });
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(coordinator_->Tick().ok());
  ASSERT_EQ(View("jobs/one").state, JobState::kRecovering);
  EXPECT_THAT(link(2).Of<AbortAttempt>(), IsEmpty()) << "its checkpoint may wait to be read";
}

// Item 24.
class StandStillTest : public OddDaysTest {
 protected:
  // Workers live for as long: their heartbeats say the same again and again.
  void Hang(absl::Duration duration, int stopped = -1) {
    for (; duration > absl::ZeroDuration(); duration -= absl::Seconds(1)) {
      for (const int worker : {0, 1, 2}) {
        RankActivity activity{"jobs/tiny", attempt_, worker, marks_, "step 1", {1 - worker}, ""};
        if (worker == stopped) activity.process = "stopped";
        Heartbeat heartbeat;
        if (worker < 2) heartbeat.activity = activity;
        ASSERT_TRUE(Say(worker, heartbeat).ok());
      }
      Pass(absl::Seconds(1));
    }
  }

  int attempt_ = 1;
  int64_t marks_ = 1;
};

TEST_F(StandStillTest, EndsARunningAttemptThatDoesNotMoveAndGoesOnElsewhere) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  Hang(absl::Minutes(20), /*stopped=*/0);
  EXPECT_EQ(View().state, JobState::kRunning);
  Hang(absl::Seconds(2), /*stopped=*/0);
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_EQ(View().reason.code, "NO_PROGRESS");
  EXPECT_THAT(View().reason.sentence, HasSubstr("rank 0 on workers/w0 has not moved for 20m"));
  EXPECT_THAT(View().reason.sentence,
              HasSubstr("(its process: stopped): step 1, waits for rank 1"));
  for (const int worker : {0, 1}) {
    EXPECT_THAT(link(worker).Of<AbortAttempt>(), SizeIs(1));
    ASSERT_TRUE(Say(worker, Exited(1, worker, ExitCode::kInfrastructure)).ok());
  }
  EXPECT_EQ(View().attempt, 2);
  EXPECT_THAT(View().workers, ElementsAre("workers/w1", "workers/w2"));
}

TEST_F(StandStillTest, EndsAnAttemptThatDoesNotStart) {
  for (const int worker : {0, 1, 2}) ASSERT_TRUE(Greet(worker).ok());
  ASSERT_TRUE(Submit().ok());
  ASSERT_TRUE(Say(0, Ready(1, 0)).ok());
  Hang(absl::Minutes(20) + absl::Seconds(2));
  EXPECT_EQ(View().state, JobState::kRecovering);
  EXPECT_EQ(View().reason.code, "NO_PROGRESS");
}

TEST_F(StandStillTest, MarksAndStepsAreMoves) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  for (int i = 0; i < 4; ++i) {
    Hang(absl::Minutes(15));
    ++marks_;
    Hang(absl::Minutes(15));
    ASSERT_TRUE(Say(1, Stepped(1, 1, i + 1)).ok());
  }
  EXPECT_EQ(View().state, JobState::kRunning);
}

TEST_F(StandStillTest, TheLongestStepGivesPatience) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  StepDone slow = Stepped(1, 0, 1);
  slow.report.step_seconds = 600.0;
  ASSERT_TRUE(Say(0, slow).ok());
  Hang(absl::Minutes(110));
  EXPECT_EQ(View().restarts, 0);
  Hang(absl::Minutes(11));
  EXPECT_EQ(View().restarts, 1) << View().reason.sentence;
}

TEST_F(StandStillTest, AStallOfTheCoordinatorIsNoStandStill) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  Hang(absl::Minutes(19));
  clock_.Advance(absl::Hours(3));
  ASSERT_TRUE(coordinator_->Tick().ok());
  EXPECT_EQ(View().restarts, 0);
  Hang(absl::Seconds(50));
  EXPECT_EQ(View().restarts, 0);
  Hang(absl::Seconds(40));
  EXPECT_EQ(View().restarts, 1) << View().reason.sentence;
}

TEST_F(StandStillTest, ARestartOfTheCoordinatorGivesTheWholeTimeAnew) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  Hang(absl::Minutes(19));
  Restart();
  ASSERT_TRUE(Greet(2).ok());
  for (const int worker : {0, 1}) ASSERT_TRUE(Greet(worker, "jobs/tiny", 1).ok());
  Hang(absl::Minutes(19));
  EXPECT_EQ(View().restarts, 0);
  Hang(absl::Minutes(2));
  EXPECT_EQ(View().restarts, 1) << View().reason.sentence;
  Restart();
  EXPECT_EQ(View().restarts, 1) << "it stands in the log";
}

// Item 28: whatever was lost on the way before.
TEST_F(StandStillTest, ARankThatNobodyWantsHearsSoAtItsNextHeartbeat) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  ASSERT_TRUE(Say(1, Exited(1, 1, ExitCode::kInfrastructure)).ok());
  link(0).Take();  // the abort, which the worker never gets
  Hang(absl::Seconds(1));
  EXPECT_THAT(link(0).Of<AbortAttempt>(), IsEmpty()) << "it is waited for";
  EXPECT_THAT(link(1).Of<AbortAttempt>(), SizeIs(1)) << "it has ended, and must not say otherwise";
  Pass(absl::Seconds(4));
  Hang(absl::Seconds(6));  // given up after ten seconds
  link(0).Take();
  Hang(absl::Seconds(1));
  EXPECT_THAT(link(0).Of<AbortAttempt>(), SizeIs(1));
}

TEST_F(StandStillTest, WordsOfAnotherAttemptAreNoMove) {
  ASSERT_TRUE(Greet(2).ok());
  Train();
  for (int minute = 0; minute < 21; ++minute) {
    ++marks_;
    attempt_ = 7;
    Hang(absl::Minutes(1));
  }
  EXPECT_EQ(View().restarts, 1) << View().reason.sentence;
}

// Item 32 and the first of item 23.
TEST_F(OddDaysTest, AWorkersNameIsNotTakenFromOneThatIsAlive) {
  Train();
  FakeLink thief;
  Hello hello;
  hello.resources = {"", "cpu", 1 << 30, 1e9};
  const auto say = [&](uint64_t life) {
    return coordinator_->Handle({"workers/w0", life, hello}, &thief);
  };
  const absl::Status second = say(~uint64_t{0});
  EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.message(), HasSubstr("give this one another --name"));
  EXPECT_EQ(View().state, JobState::kRunning);
  coordinator_->Disconnected(&link(0));  // the first is gone: the second may have the name
  EXPECT_TRUE(say(~uint64_t{0}).ok());
  EXPECT_EQ(View().state, JobState::kRecovering);
  coordinator_->Disconnected(&thief);
  Pass(absl::Seconds(5));
  ASSERT_TRUE(Greet(0).ok());
  EXPECT_THAT(link(0).Of<Refused>(), IsEmpty()) << "the first may come back after it";
}

// Item 37.  Time of this process alone, on one core: nothing here waits.
TEST_F(OddDaysTest, TenThousandJobsMakeNeitherASubmitNorATickDearer) {
  ASSERT_TRUE(Greet(0).ok());  // one idle worker: every tick looks for somebody to give it to
  const auto seconds = [](auto&& work) {
    const std::clock_t begin = std::clock();
    work();
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  int number = 0;
  const auto submit = [&](int count) {
    for (const int end = number + count; number < end; ++number) {
      const std::string id = absl::StrCat("id-", number);
      ASSERT_TRUE(Submit(id, absl::StrCat("job-", number % 5000).c_str()).ok());
      if (number >= 5000) continue;
      ASSERT_TRUE(coordinator_->Cancel(absl::StrCat("jobs/job-", number)).ok());
    }
  };
  const auto tick = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(coordinator_->Tick().ok());
  };
  submit(200);
  const double first = seconds([&] { submit(500); });
  const double first_ticks = seconds([&] { tick(500); });
  submit(8800);
  const double last = seconds([&] { submit(500); });
  const double last_ticks = seconds([&] { tick(500); });
  EXPECT_EQ(number, 10000);
  EXPECT_LT(last, 5.0 * first + 0.05) << "500 submits at first: " << first << " s";
  EXPECT_LT(last_ticks, 5.0 * first_ticks + 0.05) << "500 ticks at first: " << first_ticks << " s";
  std::printf("500 submits: %.4f s, then %.4f s; 500 ticks: %.4f s, then %.4f s\n", first, last,
              first_ticks, last_ticks);
}

TEST_F(OddDaysTest, JobsThatAreLongOverAreNotShownAgainAfterARestart) {
  ASSERT_TRUE(Submit().ok());
  ASSERT_TRUE(coordinator_->Cancel("jobs/tiny").ok());
  clock_.Advance(absl::Minutes(16));
  Restart();
  EXPECT_THAT(coordinator_->Metrics().jobs, SizeIs(0));
  EXPECT_THAT(coordinator_->ListJobs({})->jobs, SizeIs(1));
}

TEST_F(OddDaysTest, NoTwoLivingJobsShareADirectoryHoweverItIsWritten) {
  SubmitRequest request;
  request.spec = TwoRanks();
  request.output_directory = "./runs/a";
  ASSERT_TRUE(coordinator_->Submit(request).ok());
  request.spec = TwoRanks("other");
  request.output_directory = "runs//b/../a/.";
  EXPECT_EQ(coordinator_->Submit(request).status().code(), absl::StatusCode::kAlreadyExists);
  request.output_directory = "runs/b";
  request.spec.checkpoint.directory = "runs/a/checkpoints";
  EXPECT_THAT(coordinator_->Submit(request).status().message(), HasSubstr("checkpoint.directory"));
  request.spec.checkpoint.directory = "";
  EXPECT_TRUE(coordinator_->Submit(request).ok());
}

}  // namespace
}  // namespace birkhoff
