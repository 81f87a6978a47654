// The agent stepped by hand: what it does about what it hears, as text.
#include "worker/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Text(const Hello& m) {
  return absl::StrCat("hello ", m.resources.name, " at ", m.address, " runs ", m.job, "/",
                      m.attempt);
}
std::string Text(const Heartbeat& m) {
  if (!m.activity.has_value()) return "heartbeat";
  return absl::StrCat("heartbeat of rank ", m.activity->rank, " of ", m.activity->job, "/",
                      m.activity->attempt, ", mark ", m.activity->marks, ": ", m.activity->what);
}
std::string Text(const Meet& m) { return absl::StrCat("meet ", m.key); }
std::string Text(const RankReady& m) { return absl::StrCat("ready ", m.attempt); }
std::string Text(const StepDone& m) { return absl::StrCat("step ", m.report.step); }
std::string Text(const ShardDurable& m) { return absl::StrCat("shard ", m.step); }
std::string Text(const CheckpointFailed& m) { return absl::StrCat("failed ", m.step); }
std::string Text(const CheckpointCommitted& m) { return absl::StrCat("committed ", m.step); }
std::string Text(const RankExited& m) {
  return absl::StrCat("exited ", m.job, "/", m.attempt, " rank ", m.rank, " ",
                      static_cast<int>(m.code), ": ", m.reason);
}
std::string Text(const MeetResult& m) { return absl::StrCat("met ", m.key); }
std::string Text(const CommitCheckpoint& m) { return absl::StrCat("commit ", m.step); }
std::string Text(const StopAttempt& m) { return absl::StrCat("stop ", m.attempt); }
template <typename Other>
std::string Text(const Other&) {
  return "something that no rank should hear";
}

std::string Text(const AgentSend& e) {
  return std::visit([](const auto& m) { return absl::StrCat("send ", Text(m)); }, e.payload);
}
std::string Text(const AgentStartRank& e) {
  return absl::StrCat("start ", e.assignment.job, "/", e.assignment.attempt);
}
std::string Text(const AgentTellRank& e) {
  return std::visit([](const auto& m) { return absl::StrCat("tell ", Text(m)); }, e.message);
}
std::string Text(const AgentKillRank& e) { return absl::StrCat("kill: ", e.reason); }
std::string Text(const AgentLeave& e) {
  return absl::StrCat("leave ", static_cast<int>(e.code), ": ", e.reason);
}

AgentOptions Options(bool once = false) {
  AgentOptions options;
  options.resources.name = "workers/a";
  options.address = "host-a";
  options.once = once;
  return options;
}

StartAttempt Start(int attempt, const std::string& job = "jobs/j") {
  StartAttempt start;
  start.assignment.job = job;
  start.assignment.attempt = attempt;
  start.assignment.rank = 1;
  return start;
}

StepDone Step(int64_t step) {
  StepDone done{"jobs/j", 1, 1, {}};
  done.report.step = step;
  return done;
}
ShardDurable Shard(int64_t step) { return {"jobs/j", 1, 1, step, "file", "sum", 1}; }
CheckpointCommitted Committed(int64_t step) { return {"jobs/j", 1, step, "path", "sum"}; }

class AgentTest : public ::testing::Test {
 protected:
  explicit AgentTest(bool once = false) : agent_(Options(once)) {}

  std::vector<std::string> On(const AgentEvent& event) {
    std::vector<std::string> lines;
    for (const AgentEffect& effect : agent_.Step(now_, event)) {
      lines.push_back(std::visit([](const auto& e) { return Text(e); }, effect));
    }
    return lines;
  }
  std::vector<std::string> Hear(CoordinatorMessage message) {
    return On(AgentHeard{std::move(message)});
  }
  std::vector<std::string> Say(WorkerPayload payload) {
    return On(AgentRankSaid{std::move(payload)});
  }
  std::vector<std::string> Gone(ExitCode code, const std::string& reason) {
    return On(AgentRankGone{code, reason});
  }
  std::vector<std::string> TickAfter(absl::Duration time) {
    now_ = now_ + time;
    return On(AgentTick{});
  }
  void Connect() {
    On(AgentConnected{});
    Hear(Welcome{1.0, 5.0});
  }
  // Connected, with rank 1 of attempt 1 alive.
  void Run() {
    Connect();
    Hear(Start(1));
  }
  // What the journal holds.
  std::vector<std::string> Reconnect() {
    On(AgentDisconnected{});
    On(AgentConnected{});
    return Hear(Welcome{1.0, 5.0});
  }

  Instant now_{1'000'000'000};
  Agent agent_;
};

class AgentOnceTest : public AgentTest {
 protected:
  AgentOnceTest() : AgentTest(/*once=*/true) {}
};

// Item 23.
TEST_F(AgentOnceTest, GivesUpWhereNoCoordinatorAnswers) {
  const std::string leave = "leave 71: no coordinator has answered for 5m (--give-up-seconds)";
  EXPECT_THAT(TickAfter(absl::ZeroDuration()), IsEmpty());
  On(AgentConnected{});  // a stream that nobody answers
  On(AgentDisconnected{});
  EXPECT_THAT(TickAfter(absl::Minutes(5) - absl::Seconds(1)), IsEmpty());
  EXPECT_THAT(TickAfter(absl::Seconds(1)), ElementsAre(leave));
}

TEST_F(AgentOnceTest, ACoordinatorOrARankKeepsItFromGivingUp) {
  Run();
  TickAfter(absl::Hours(1));
  On(AgentDisconnected{});
  EXPECT_THAT(TickAfter(absl::Minutes(59)), IsEmpty()) << "the rank trains on";
  Gone(ExitCode::kDone, "all done");
  EXPECT_THAT(TickAfter(absl::Minutes(5) - absl::Seconds(1)), IsEmpty());
  EXPECT_THAT(TickAfter(absl::Seconds(1)), ElementsAre(HasSubstr("leave 71")));
}

TEST_F(AgentTest, NeverGivesUpWhereItServesManyJobs) {
  EXPECT_THAT(TickAfter(absl::Hours(1000)), IsEmpty());
}

TEST_F(AgentTest, SaysHelloWhenConnected) {
  EXPECT_THAT(On(AgentConnected{}), ElementsAre("send hello workers/a at host-a runs /0"));
  EXPECT_THAT(Hear(Welcome{}), IsEmpty());
}

TEST_F(AgentTest, StartsTheRankAndPassesItsWordsOn) {
  Connect();
  EXPECT_THAT(Hear(Start(1)), ElementsAre("start jobs/j/1"));
  EXPECT_TRUE(agent_.rank_alive());
  EXPECT_THAT(Say(Step(1)), ElementsAre("send step 1"));
  EXPECT_THAT(Gone(ExitCode::kDone, "all done"),
              ElementsAre("send exited jobs/j/1 rank 1 0: all done"));
  EXPECT_FALSE(agent_.rank_alive());
}

TEST_F(AgentTest, SaysTheJournalAgainAfterTheWelcome) {
  Run();
  Say(RankReady{"jobs/j", 1, 1, 0, ""});
  Say(Step(1));
  On(AgentDisconnected{});
  EXPECT_THAT(Say(Step(2)), IsEmpty()) << "nobody listens";
  EXPECT_THAT(On(AgentConnected{}), ElementsAre("send hello workers/a at host-a runs jobs/j/1"));
  EXPECT_THAT(Say(Shard(2)), IsEmpty()) << "it follows the Welcome, in order";
  EXPECT_THAT(Hear(Welcome{}),
              ElementsAre("send ready 1", "send step 1", "send step 2", "send shard 2"));
  EXPECT_THAT(Say(Step(3)), ElementsAre("send step 3"));
}

TEST_F(AgentTest, NamesNoAttemptInHelloOnceTheRankIsGone) {
  Run();
  On(AgentDisconnected{});
  EXPECT_THAT(Gone(ExitCode::kInfrastructure, "disk"), IsEmpty());
  EXPECT_THAT(On(AgentConnected{}), ElementsAre("send hello workers/a at host-a runs /0"));
  EXPECT_THAT(Hear(Welcome{}), ElementsAre("send exited jobs/j/1 rank 1 71: disk"));
}

TEST_F(AgentTest, KillsTheOlderRankBeforeALaterAttemptBegins) {
  Run();
  Say(Step(1));
  EXPECT_THAT(Hear(Start(2)), ElementsAre("kill: attempt 2 of jobs/j begins"));
  EXPECT_THAT(Gone(ExitCode::kInternal, "signal 9"),
              ElementsAre("send exited jobs/j/1 rank 1 71: killed: attempt 2 of jobs/j begins",
                          "start jobs/j/2"));
  EXPECT_THAT(Reconnect(), IsEmpty()) << "the journal is of one attempt";
}

TEST_F(AgentTest, StartsOnlyTheLatestOfTheAttemptsThatCameWhileTheRankWasDying) {
  Run();
  Hear(Start(2));
  Hear(Start(3));
  EXPECT_THAT(Gone(ExitCode::kInternal, ""),
              ElementsAre(HasSubstr("send exited jobs/j/1"), "start jobs/j/3"));
}

TEST_F(AgentTest, DoesNotLetAStaleAttemptReplaceTheOneThatWaits) {
  Run();
  Hear(Start(3));
  Hear(Start(2));
  EXPECT_THAT(Gone(ExitCode::kInternal, ""),
              ElementsAre(HasSubstr("send exited jobs/j/1"), "start jobs/j/3"));
}

TEST_F(AgentTest, IgnoresStaleAndRepeatedStarts) {
  Connect();
  Hear(Start(3));
  EXPECT_THAT(Hear(Start(3)), IsEmpty());
  EXPECT_THAT(Hear(Start(2)), IsEmpty());
  Gone(ExitCode::kDone, "");
  EXPECT_THAT(Hear(Start(3)), IsEmpty()) << "it has ended here";
  EXPECT_THAT(Hear(Start(2)), IsEmpty());
  EXPECT_THAT(Hear(Start(4)), ElementsAre("start jobs/j/4"));
}

TEST_F(AgentTest, StartsTheFirstAttemptOfAnotherJob) {
  Connect();
  Hear(Start(3));
  Gone(ExitCode::kDone, "");
  EXPECT_THAT(Hear(Start(1, "jobs/other")), ElementsAre("start jobs/other/1"));
}

// A coordinator may die when it has answered this rank, but not yet the others.
TEST_F(AgentTest, SaysAnAnsweredMeetAgain) {
  Run();
  Say(Meet{"jobs/j", 1, 1, "a", "x"});
  Say(Meet{"jobs/j", 1, 1, "b", "y"});
  EXPECT_THAT(Hear(MeetResult{"jobs/j", 1, "a", {}}), ElementsAre("tell met a"));
  EXPECT_THAT(Reconnect(), ElementsAre("send meet a", "send meet b"));
  EXPECT_THAT(Hear(MeetResult{"jobs/j", 2, "b", {}}), IsEmpty()) << "of another attempt";
}

TEST_F(AgentTest, PassesOnOnlyWhatIsForTheLivingRank) {
  Run();
  EXPECT_THAT(Hear(CommitCheckpoint{"jobs/j", 1, 3, {}}), ElementsAre("tell commit 3"));
  EXPECT_THAT(Hear(StopAttempt{"jobs/j", 1}), ElementsAre("tell stop 1"));
  EXPECT_THAT(Hear(CommitCheckpoint{"jobs/j", 2, 3, {}}), IsEmpty());
  EXPECT_THAT(Hear(CommitCheckpoint{"jobs/other", 1, 3, {}}), IsEmpty());
  EXPECT_THAT(Hear(StopAttempt{"jobs/j", 2}), IsEmpty());
  Gone(ExitCode::kDone, "");
  EXPECT_THAT(Hear(CommitCheckpoint{"jobs/j", 1, 3, {}}), IsEmpty());
  EXPECT_THAT(Hear(StopAttempt{"jobs/j", 1}), IsEmpty());
  EXPECT_THAT(Hear(MeetResult{"jobs/j", 1, "a", {}}), IsEmpty());
}

TEST_F(AgentTest, DoesNotBeginAnAttemptThatWasAbortedWhileItWaited) {
  Run();
  Hear(Start(2));
  EXPECT_THAT(Hear(AbortAttempt{"jobs/j", 2, "no longer wanted"}),
              ElementsAre("send exited jobs/j/2 rank 1 71: aborted before it started"));
  EXPECT_THAT(Gone(ExitCode::kInternal, "signal 9"),
              ElementsAre("send exited jobs/j/1 rank 1 71: killed: attempt 2 of jobs/j begins"));
}

TEST_F(AgentTest, KillsTheRankOfAnAbortedAttempt) {
  Run();
  EXPECT_THAT(Hear(AbortAttempt{"jobs/j", 2, "stale"}), IsEmpty());
  EXPECT_THAT(Hear(AbortAttempt{"jobs/j", 1, "rank 0 died"}), ElementsAre("kill: rank 0 died"));
  EXPECT_THAT(Gone(ExitCode::kInternal, "signal 9"),
              ElementsAre("send exited jobs/j/1 rank 1 71: killed: rank 0 died"));
}

TEST_F(AgentTest, ForgetsTheJournalWhenAnAttemptThatHasEndedIsAborted) {
  Run();
  Gone(ExitCode::kInfrastructure, "disk");
  EXPECT_THAT(Reconnect(), ElementsAre("send exited jobs/j/1 rank 1 71: disk"));
  EXPECT_THAT(Hear(AbortAttempt{"jobs/j", 1, "heard"}), IsEmpty());
  EXPECT_THAT(Reconnect(), IsEmpty());
}

TEST_F(AgentTest, LeavesAsFencedOnceTheRankIsGone) {
  Run();
  EXPECT_THAT(Hear(Refused{"a younger life speaks"}), ElementsAre("kill: a younger life speaks"));
  EXPECT_THAT(Hear(Start(2)), IsEmpty()) << "it begins nothing any more";
  EXPECT_THAT(Gone(ExitCode::kInternal, "signal 9"),
              ElementsAre(HasSubstr("send exited"), "leave 72: a younger life speaks"));
}

TEST_F(AgentTest, LeavesAsFencedAtOnceWithoutARank) {
  Connect();
  EXPECT_THAT(Hear(Refused{"old"}), ElementsAre("leave 72: old"));
}

TEST_F(AgentOnceTest, LeavesWithTheJobsExitCode) {
  Run();
  Gone(ExitCode::kDone, "");
  EXPECT_THAT(Hear(JobEnded{"jobs/other", 1, ExitCode::kDone, ""}), IsEmpty());
  EXPECT_THAT(Hear(JobEnded{"jobs/j", 1, ExitCode::kNumerics, "not finite"}),
              ElementsAre("leave 73: not finite"));
}

TEST_F(AgentOnceTest, KillsTheRankBeforeItLeaves) {
  Run();
  EXPECT_THAT(Hear(JobEnded{"jobs/j", 1, ExitCode::kStopped, "over"}), ElementsAre("kill: over"));
  EXPECT_THAT(Gone(ExitCode::kInternal, ""),
              ElementsAre(HasSubstr("send exited"), "leave 75: over"));
}

TEST_F(AgentTest, StaysForTheNextJobWithoutOnce) {
  Run();
  Say(Step(1));
  Gone(ExitCode::kDone, "");
  EXPECT_THAT(Hear(JobEnded{"jobs/j", 1, ExitCode::kDone, "done"}), IsEmpty());
  EXPECT_THAT(Reconnect(), IsEmpty()) << "nothing is left to repeat";
  EXPECT_THAT(Hear(Start(1, "jobs/next")), ElementsAre("start jobs/next/1"));
}

TEST_F(AgentTest, LeavesAtOnceWhenAskedWithoutARank) {
  EXPECT_THAT(On(AgentShutdown{}), ElementsAre("leave 0: asked to leave"));
}

TEST_F(AgentOnceTest, LeavesWith75WhenItsJobHasNotEnded) {
  EXPECT_THAT(On(AgentShutdown{}), ElementsAre("leave 75: asked to leave"));
}

TEST_F(AgentTest, StopsCleanlyAtTheFirstShutdownAndKillsAtTheSecond) {
  Run();
  EXPECT_THAT(On(AgentShutdown{}), ElementsAre("tell stop 1"));
  EXPECT_THAT(On(AgentShutdown{}), ElementsAre("kill: asked to leave twice"));
  EXPECT_THAT(Gone(ExitCode::kInternal, "signal 9"),
              ElementsAre("send exited jobs/j/1 rank 1 71: killed: asked to leave twice",
                          "leave 71: without a new checkpoint: killed: asked to leave twice"))
      << "75 promises that nothing is lost";
}

// Issue item 33: a coordinator that is away commits nothing.
TEST_F(AgentTest, KillsARankThatCannotStopCleanlyOnceTheGraceIsOver) {
  Run();
  On(AgentDisconnected{});
  EXPECT_THAT(On(AgentShutdown{}), ElementsAre("tell stop 1"));
  EXPECT_THAT(TickAfter(absl::Seconds(60) - absl::Nanoseconds(1)), IsEmpty());
  EXPECT_THAT(TickAfter(absl::Nanoseconds(1)), ElementsAre("kill: no clean stop within 1m"));
  EXPECT_THAT(TickAfter(absl::Seconds(1)), IsEmpty()) << "once";
  EXPECT_THAT(Gone(ExitCode::kInfrastructure, "signal 9"),
              ElementsAre("leave 71: without a new checkpoint: killed: no clean stop within 1m"));
}

// Issue item 14: what the rank said itself is not dropped where a kill races with it.
TEST_F(AgentTest, ARankThatEndsBeforeItsKillKeepsItsCode) {
  Run();
  Hear(AbortAttempt{"jobs/j", 1, "rank 0 died"});
  EXPECT_THAT(Gone(ExitCode::kNumerics, "not finite"),
              ElementsAre("send exited jobs/j/1 rank 1 73: not finite"));
}

// Its bound on the wire would have it refused, again after each reconnect.
TEST_F(AgentTest, ShortensAReasonThatIsTooLong) {
  Run();
  const std::vector<std::string> said = Gone(ExitCode::kInternal, std::string(100'000, 'x'));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_LT(said[0].size(), 17'000u);
}

TEST_F(AgentTest, LeavesAfterACleanStop) {
  Run();
  On(AgentShutdown{});
  EXPECT_THAT(Gone(ExitCode::kStopped, "stopped"),
              ElementsAre("send exited jobs/j/1 rank 1 75: stopped", "leave 75: asked to leave"));
}

TEST_F(AgentTest, BeatsAtTheIntervalOfTheWelcome) {
  EXPECT_THAT(TickAfter(absl::Seconds(10)), IsEmpty()) << "not connected";
  On(AgentConnected{});
  EXPECT_THAT(TickAfter(absl::Seconds(10)), IsEmpty()) << "not welcome yet";
  Hear(Welcome{2.0, 5.0});
  EXPECT_EQ(agent_.heartbeat(), absl::Seconds(2));
  EXPECT_THAT(TickAfter(absl::Seconds(1.5)), IsEmpty());
  EXPECT_THAT(TickAfter(absl::Seconds(0.5)), ElementsAre("send heartbeat"));
  EXPECT_THAT(TickAfter(absl::Seconds(1.5)), IsEmpty());
  EXPECT_THAT(TickAfter(absl::Seconds(0.5)), ElementsAre("send heartbeat"));
  On(AgentDisconnected{});
  EXPECT_THAT(TickAfter(absl::Seconds(10)), IsEmpty());
}

// Item 24: what a rank is at is news of the moment, told with each heartbeat and never repeated.
TEST_F(AgentTest, HeartbeatsSayWhatTheRankIsAt) {
  Run();
  EXPECT_THAT(
      TickAfter(absl::Seconds(1)),
      ElementsAre("send heartbeat of rank 1 of jobs/j/1, mark 0: has not said anything yet"));
  EXPECT_THAT(Say(Heartbeat{RankActivity{"jobs/j", 1, 1, 7, "step 3", {0}, ""}}), IsEmpty());
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(TickAfter(absl::Seconds(1)),
                ElementsAre("send heartbeat of rank 1 of jobs/j/1, mark 7: step 3"));
  }
  EXPECT_THAT(Reconnect(), IsEmpty());
  Gone(ExitCode::kDone, "all done");
  EXPECT_THAT(TickAfter(absl::Seconds(1)), ElementsAre("send heartbeat"));
  Hear(Start(2));
  EXPECT_THAT(TickAfter(absl::Seconds(1)),
              ElementsAre(HasSubstr("jobs/j/2, mark 0: has not said")));
}

TEST_F(AgentTest, ShortensWhatARankIsAt) {
  Run();
  Say(Heartbeat{RankActivity{"jobs/j", 1, 1, 7, std::string(100'000, 'x'), {}, ""}});
  EXPECT_LT(TickAfter(absl::Seconds(1))[0].size(), 16500u);
}

// Item 28: nobody wants a rank any more whose coordinator does not come back.
TEST_F(AgentTest, EndsARankWhoseCoordinatorStaysAway) {
  Run();
  On(AgentDisconnected{});
  EXPECT_THAT(TickAfter(absl::Minutes(30)), IsEmpty());
  On(AgentConnected{});  // somebody listens there, but says nothing
  On(AgentDisconnected{});
  EXPECT_THAT(TickAfter(absl::Minutes(30) - absl::Nanoseconds(1)), IsEmpty());
  EXPECT_THAT(TickAfter(absl::Nanoseconds(1)),
              ElementsAre("kill: the coordinator was away for 1h (--orphan-limit)"));
  EXPECT_THAT(TickAfter(absl::Hours(1)), IsEmpty()) << "once";
  EXPECT_THAT(Gone(ExitCode::kInfrastructure, "signal 9"), IsEmpty());
  EXPECT_THAT(Reconnect(),
              ElementsAre("send exited jobs/j/1 rank 1 71: killed: the coordinator was away for 1h "
                          "(--orphan-limit)"))
      << "the worker stays, and tells it when it is back";
  EXPECT_THAT(Hear(Start(2)), ElementsAre("start jobs/j/2"));
}

TEST_F(AgentTest, ACoordinatorThatComesBackInTimeHasItsRanks) {
  Run();
  for (int i = 0; i < 3; ++i) {
    On(AgentDisconnected{});
    EXPECT_THAT(TickAfter(absl::Minutes(59)), IsEmpty());
    On(AgentConnected{});
    Hear(Welcome{1.0, 5.0});
  }
  EXPECT_TRUE(agent_.rank_alive());
  EXPECT_THAT(TickAfter(absl::Hours(2)), ElementsAre(HasSubstr("send heartbeat")));
}

// Item 34: a disk's word is the rank's own, also where a kill came at the same time.
TEST_F(AgentTest, PassesOnThatADiskWasTheReason) {
  Run();
  Hear(AbortAttempt{"jobs/j", 1, "rank 0 died"});
  const std::vector<AgentEffect> effects =
      agent_.Step(now_, AgentRankGone{ExitCode::kInfrastructure, "disk full", /*disk=*/true});
  const auto& exited = std::get<RankExited>(std::get<AgentSend>(effects.at(0)).payload);
  EXPECT_TRUE(exited.disk);
  EXPECT_EQ(exited.reason, "disk full");
}

TEST_F(AgentTest, KeepsOnlyTheNewestCheckpointInTheJournal) {
  Run();
  for (const int64_t step : {3, 6}) {
    Say(Shard(step));
    Say(Committed(step));
  }
  Say(Shard(9));
  EXPECT_THAT(Reconnect(), ElementsAre("send committed 6", "send shard 9"));
}

// An hour without a coordinator must not eat the memory, and must not lose what cannot be said
// again by anybody.
TEST_F(AgentTest, BoundsStepReportsButDropsNothingElse) {
  constexpr int kLimit = 4096, kSteps = 10000;
  Run();
  Say(RankReady{"jobs/j", 1, 1, 0, ""});
  On(AgentDisconnected{});
  Say(Shard(1));
  Say(Committed(1));
  Say(Shard(2));
  for (int64_t step = 1; step <= kSteps; ++step) Say(Step(step));
  Gone(ExitCode::kDone, "done");
  On(AgentConnected{});
  std::vector<std::string> wanted = {"send ready 1", "send committed 1", "send shard 2"};
  for (int64_t step = kSteps - kLimit + 1; step <= kSteps; ++step) {
    wanted.push_back(absl::StrCat("send step ", step));
  }
  wanted.push_back("send exited jobs/j/1 rank 1 0: done");
  EXPECT_EQ(Hear(Welcome{}), wanted);
}

// Issue item 15: the count of steps goes with them.
TEST_F(AgentTest, AJournalThatWasForgottenHoldsAsManyStepsAgain) {
  constexpr int kLimit = 4096;
  Journal journal;
  for (int64_t step = 1; step <= kLimit; ++step) journal.Add(Step(step));
  journal.Clear();
  for (int64_t step = 1; step <= kLimit; ++step) journal.Add(Step(step));
  EXPECT_EQ(journal.entries().size(), static_cast<size_t>(kLimit));
  journal.Add(Step(kLimit + 1));
  EXPECT_EQ(journal.entries().size(), static_cast<size_t>(kLimit));
}

}  // namespace
}  // namespace birkhoff
