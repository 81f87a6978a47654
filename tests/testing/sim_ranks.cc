// A rank's phases, moved from outside.  Its files are written on a real thread, so a step that owes
// a checkpoint waits in real time for that thread's word before simulated time goes on.
#include "tests/testing/sim_ranks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "tests/testing/test_device.h"

namespace birkhoff::testing {
namespace {

constexpr absl::Duration kLongestWrite = absl::Seconds(60);  // of real time; a hang is a failure

}  // namespace

SimRank::SimRank(Assignment assignment, Disk& disk, Clock& clock)
    : assignment_(std::move(assignment)), disk_(disk), clock_(clock) {
  // As the rendezvous of a real transport does before anything else.
  Send(Meet{assignment_.job, assignment_.attempt, assignment_.rank, "transport", "here"});
}

SimRank::~SimRank() = default;

void SimRank::Send(WorkerPayload payload) {
  absl::MutexLock lock(&mutex_);
  if (const auto* done = std::get_if<StepDone>(&payload)) step_ = done->report.step;
  outbox_.push_back(std::move(payload));
}

std::vector<WorkerPayload> SimRank::TakeOutbox() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(outbox_, {});
}

void SimRank::Hear(const CoordinatorMessage& message) {
  if (std::holds_alternative<MeetResult>(message)) {
    if (phase_ == Phase::kStarted) phase_ = Phase::kMet;
  } else if (const auto* commit = std::get_if<CommitCheckpoint>(&message)) {
    if (rank_ != nullptr) Commit(*commit);
  } else if (std::holds_alternative<StopAttempt>(message)) {
    if (rank_ != nullptr) rank_->RequestStop();
  }
}

void SimRank::Move(LocalHub& hub) {
  if (phase_ == Phase::kMet) return Begin(hub);
  if (phase_ == Phase::kTraining) RunStep();
}

void SimRank::Begin(LocalHub& hub) {
  transport_ =
      NewLocalTransport(hub, assignment_.plan, {.rank = assignment_.rank, .check_stamps = true});
  device_ = NewTestDevice();
  absl::StatusOr<std::unique_ptr<Rank>> rank =
      Rank::Create(assignment_, {device_.get(), transport_.get(), &disk_, &clock_, this});
  if (!rank.ok()) return End(rank.status());
  rank_ = *std::move(rank);
  phase_ = Phase::kTraining;
}

void SimRank::RunStep() {
  const absl::StatusOr<bool> more = rank_->RunStep();
  if (!more.ok()) return End(more.status());
  int64_t step = 0;
  {
    absl::MutexLock lock(&mutex_);
    step = step_;
  }
  // An attempt that resumes from the last step's checkpoint has nothing left to do or to write.
  if (step > 0 && CheckpointIsDue(step, !*more)) AwaitWord<ShardDurable>(step);
  if (*more) return;
  phase_ = Phase::kFinishing;
  FinishIfCommitted();
}

bool SimRank::CheckpointIsDue(int64_t step, bool last) const {
  const int64_t interval = assignment_.spec.checkpoint.interval;
  return last || (interval > 0 && step % interval == 0);
}

// Files are written on a thread of their own; simulated time waits until it has spoken.
template <typename Said>
void SimRank::AwaitWord(int64_t step) {
  absl::MutexLock lock(&mutex_);
  const auto said = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::ranges::any_of(outbox_, [step](const WorkerPayload& payload) {
      const auto* word = std::get_if<Said>(&payload);
      const auto* failed = std::get_if<CheckpointFailed>(&payload);
      return (word != nullptr && word->step == step) ||
             (failed != nullptr && failed->step == step);  // a later attempt has taken over
    });
  };
  EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&said), kLongestWrite))
      << "rank " << assignment_.rank << " says nothing about the checkpoint of step " << step;
}

void SimRank::Commit(const CommitCheckpoint& commit) {
  rank_->CommitCheckpoint(commit);
  if (commit.step < committed_step_) return;  // a late repetition, which is not answered
  AwaitWord<CheckpointCommitted>(commit.step);
  committed_step_ = commit.step;
  if (phase_ == Phase::kFinishing) FinishIfCommitted();
}

void SimRank::FinishIfCommitted() {
  {
    absl::MutexLock lock(&mutex_);
    if (assignment_.rank == 0 && committed_step_ < step_) return;
  }
  End(rank_->Finish());
}

void SimRank::End(const absl::Status& status) {
  phase_ = Phase::kEnded;
  reason_ = std::string(status.message());
  if (status.ok()) {
    code_ = rank_->stopped() ? ExitCode::kStopped : ExitCode::kDone;
    return;
  }
  code_ = ExitCode::kInfrastructure;
  EXPECT_TRUE(absl::IsUnavailable(status) || absl::IsAborted(status)) << status;
}

void SimGang::Add(std::shared_ptr<SimRank> rank) {
  const int number = rank->assignment().rank;
  ranks_[number] = std::move(rank);
}

void SimGang::Remove(const SimRank* rank) {
  const int number = rank->assignment().rank;
  const auto found = ranks_.find(number);
  if (found == ranks_.end() || found->second.get() != rank) return;
  const bool joined = rank->phase() > SimRank::Phase::kMet;
  ranks_.erase(found);
  if (!joined) hub_.Join(number).reset();  // gone before it has said a word
}

bool SimGang::AllMet() const {
  const auto waits = [](const auto& entry) {
    return entry.second->phase() == SimRank::Phase::kStarted;
  };
  return static_cast<int>(ranks_.size()) == world_size_ && std::ranges::none_of(ranks_, waits);
}

bool SimGang::CanMove() const {
  if (stopped_) return false;
  return std::ranges::any_of(ranks_, [](const auto& entry) {
    const SimRank::Phase phase = entry.second->phase();
    return phase == SimRank::Phase::kMet || phase == SimRank::Phase::kTraining;
  });
}

void SimGang::Move() {
  std::vector<std::thread> threads;
  for (const auto& [number, entry] : ranks_) {
    SimRank* rank = entry.get();
    threads.emplace_back([this, rank] { rank->Move(hub_); });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace birkhoff::testing
