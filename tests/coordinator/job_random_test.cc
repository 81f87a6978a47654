// Random events, most of them wrong, by many seeds: what must be true of a job at all times.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/job.h"
#include "tests/coordinator/job_events.h"

namespace birkhoff {
namespace {

constexpr int kSteps = 5'000;  // of each seed

// Draws events that fit the job more often than chance would have it, so that jobs get somewhere.
class EventDice {
 public:
  explicit EventDice(uint32_t seed) : engine_(seed) {}

  int Below(int bound) { return static_cast<int>(engine_() % static_cast<uint32_t>(bound)); }

  JobEvent Draw(const Job& job, Instant now) {
    const int attempt = job.attempt() + (Below(10) == 0 ? Below(3) - 1 : 0);
    const int rank = Below(20) == 0 ? Below(5) - 1 : Below(2);
    switch (Below(40)) {
      case 0:
        return CancelOr(Stepped(attempt, rank, Below(100)));
      case 1:
        return GraceOver{attempt};
      case 2:
        if (Below(2) == 0) return AttemptStuck{attempt, rank, "has not moved"};
        return WorkerLost{attempt, rank, "was silent"};
      case 3:
        return Created();
      case 4:
        return CancelOr(PlanRefused{"too large", ExitCode::kBadSpec});
      case 5:
        return PlanDeferred{"NO_ROOM", Below(2) == 0 ? "too small" : "still too small"};
      case 6: {
        RankExited exited = Exited(attempt, rank, AnyCode());
        exited.disk = Below(2) == 0;
        return exited;
      }
      case 7:
      case 8:
      case 9:
        return Exited(attempt, rank, UsualCode());
      case 10:
      case 11:
        return Committed(attempt, Below(30));
      case 12:
      case 13:
      case 14:
      case 15:
        return Durable(attempt, rank, 10 * Below(4));
      case 16:
      case 17:
      case 18:
      case 19:
        return Stepped(attempt, rank, Below(100));
      case 20:
        return Noticed{"jobs/tiny", attempt, rank, AnyNotice(), Below(100), "look"};
      default:
        break;
    }
    if (const std::optional<JobEvent> due = job.Due(now); due.has_value()) return *due;
    if (job.WantsWorkers(now)) return Placed(attempt + 1);
    return Ready(attempt, rank);
  }

 private:
  JobEvent CancelOr(JobEvent other) { return Below(4) == 0 ? CancelRequested{} : other; }
  std::string AnyNotice() {
    constexpr const char* kCodes[] = {kStepsMissing, kGainAboveBound, kGainBack, kStreamsCollapsed,
                                      kStreamsApart, kOutputRemoved,  "UNKNOWN"};
    return kCodes[Below(7)];
  }
  ExitCode AnyCode() {
    constexpr ExitCode kCodes[] = {
        ExitCode::kDone,   ExitCode::kBadSpec,  ExitCode::kInternal, ExitCode::kInfrastructure,
        ExitCode::kFenced, ExitCode::kNumerics, ExitCode::kStopped};
    return kCodes[Below(7)];
  }
  ExitCode UsualCode() { return Below(3) == 0 ? ExitCode::kStopped : ExitCode::kDone; }

  std::mt19937 engine_;
};

using Log = std::vector<std::pair<Instant, JobEvent>>;

std::string Replayed(const Log& log, bool at_once) {
  Job job("jobs/tiny");
  for (const auto& [then, event] : log) {
    const absl::Status status = job.Step(at_once ? Instant{7} : then, event).status();
    EXPECT_TRUE(status.ok()) << status << "\n" << job.ToString();
  }
  return job.ToString();
}

// What one accepted event may have made of a job.
void CheckChange(const Job& before, const Job& after) {
  ASSERT_GE(after.attempt(), before.attempt());
  ASSERT_LE(after.attempt(), before.attempt() + 1);
  ASSERT_GE(after.restarts(), before.restarts());
  if (before.checkpoint().has_value()) {
    ASSERT_TRUE(after.checkpoint().has_value());
  }
  if (IsOver(before.state())) {
    ASSERT_EQ(after.ToString(), before.ToString()) << "over is over";
  }
  if (after.attempt() > before.attempt()) {
    for (const JobRank& rank : before.ranks()) ASSERT_TRUE(rank.gone) << before.ToString();
  }
}

void CheckState(const Job& job, Instant now) {
  const std::vector<JobRank>& ranks = job.ranks();
  const bool all_gone = std::ranges::all_of(ranks, &JobRank::gone);
  if (IsOver(job.state())) {
    ASSERT_TRUE(all_gone) << job.ToString();
    ASSERT_FALSE(job.WantsWorkers(now));
    ASSERT_FALSE(job.Due(now + absl::Hours(1)).has_value());
  }
  if (job.state() == JobState::kSucceeded) {
    ASSERT_EQ(job.exit_code(), ExitCode::kDone);
    ASSERT_FALSE(ranks.empty());
    for (const JobRank& rank : ranks) ASSERT_EQ(rank.code, ExitCode::kDone) << job.ToString();
  } else if (IsOver(job.state())) {
    ASSERT_NE(job.exit_code(), ExitCode::kDone) << job.ToString();
  }
  if (job.state() == JobState::kRunning) {
    for (const JobRank& rank : ranks) ASSERT_TRUE(rank.ready) << job.ToString();
  }
  ASSERT_FALSE(job.reason().code.empty());
  ASSERT_FALSE(job.reason().sentence.empty());
}

// Commits are asked for only of the attempt that runs, with a shard of each rank.
void CheckEffects(const Job& job, const std::vector<JobEffect>& effects) {
  for (const JobEffect& effect : effects) {
    const auto* send = std::get_if<SendToRank>(&effect);
    if (send == nullptr) continue;
    const auto* commit = std::get_if<CommitCheckpoint>(&send->message);
    if (commit == nullptr) continue;
    ASSERT_EQ(send->rank, 0);
    ASSERT_EQ(commit->attempt, job.attempt());
    ASSERT_EQ(commit->shards.size(), job.ranks().size());
  }
}

// How many jobs ended in each state.
using Ends = std::array<int, 9>;

void RunEvents(uint32_t seed, Ends& ended) {
  EventDice dice(seed);
  Instant now{1};
  Job job("jobs/tiny");
  ASSERT_TRUE(job.Step(now, Created()).ok());
  Log log{{now, Created()}};
  int events_after_end = 0;
  for (int step = 0; step < kSteps; ++step) {
    now = now + absl::Milliseconds(dice.Below(500));
    const JobEvent event = dice.Draw(job, now);
    const Job before = job;
    const auto effects = job.Step(now, event);
    if (!effects.ok()) {
      ASSERT_EQ(job.ToString(), before.ToString()) << effects.status();
    } else {
      log.emplace_back(now, event);
      ASSERT_NO_FATAL_FAILURE(CheckEffects(job, *effects));
    }
    ASSERT_NO_FATAL_FAILURE(CheckChange(before, job));
    ASSERT_NO_FATAL_FAILURE(CheckState(job, now));
    if (!IsOver(job.state()) || ++events_after_end < 10) continue;
    ASSERT_EQ(Replayed(log, /*at_once=*/false), job.ToString());
    ASSERT_EQ(Replayed(log, /*at_once=*/true), job.ToString()) << "as a coordinator replays";
    ++ended[static_cast<size_t>(job.state())];
    events_after_end = 0;
    job = Job("jobs/tiny");
    ASSERT_TRUE(job.Step(now, Created()).ok());
    log = {{now, Created()}};
  }
}

TEST(JobRandom, KeepsItsInvariantsUnderAnyEvents) {
  Ends ended = {};
  for (uint32_t seed = 1; seed <= BIRKHOFF_NUM_SEEDS; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ASSERT_NO_FATAL_FAILURE(RunEvents(seed, ended));
    if (::testing::Test::HasFailure()) return;
  }
  // The dice reach every end often enough to mean something.
  for (const JobState end : {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
    EXPECT_GT(ended[static_cast<size_t>(end)], BIRKHOFF_NUM_SEEDS) << static_cast<int>(end);
  }
}

}  // namespace
}  // namespace birkhoff
