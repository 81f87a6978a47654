// Rank processes of the simulated cluster: real Ranks over the local transport, moved step by step.
//
//   started --MeetResult--> met --all met: Begin--> training --last step--> finishing --> ended
//                                                      |--a peer is gone------------------^
//
// All ranks of an attempt take a step at once, each on a thread that is joined before simulated
// time goes on.  What they say is kept in their outboxes until the simulation takes it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/disk.h"
#include "core/protocol/messages.h"
#include "worker/rank.h"
#include "worker/transport/local.h"

namespace birkhoff::testing {

class SimRank final : public RankListener {
 public:
  enum class Phase { kStarted, kMet, kTraining, kFinishing, kEnded };

  // The disk and the clock must outlive it.
  SimRank(Assignment assignment, Disk& disk, Clock& clock);
  ~SimRank() override;

  const Assignment& assignment() const { return assignment_; }
  Phase phase() const { return phase_; }
  ExitCode code() const { return code_; }  // once ended
  const std::string& reason() const { return reason_; }

  // The coordinator's word.
  void Hear(const CoordinatorMessage& message);
  // The next thing its main thread does: build the rank, or one step of training.
  void Move(LocalHub& hub);
  std::vector<WorkerPayload> TakeOutbox();

  void Send(WorkerPayload payload) override;  // any thread

 private:
  void Begin(LocalHub& hub);
  void RunStep();
  void Commit(const CommitCheckpoint& commit);
  void FinishIfCommitted();
  void End(const absl::Status& status);
  template <typename Said>
  void AwaitWord(int64_t step);
  bool CheckpointIsDue(int64_t step, bool last) const;

  const Assignment assignment_;
  Disk& disk_;
  Clock& clock_;
  Phase phase_ = Phase::kStarted;
  ExitCode code_ = ExitCode::kDone;
  std::string reason_;
  int64_t committed_step_ = 0;

  absl::Mutex mutex_;
  std::vector<WorkerPayload> outbox_ ABSL_GUARDED_BY(mutex_);
  int64_t step_ ABSL_GUARDED_BY(mutex_) = 0;  // the last that it has told of

  std::unique_ptr<Device> device_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Rank> rank_;  // last: uses all of the above
};

// The ranks of one attempt.
class SimGang {
 public:
  explicit SimGang(int world_size) : hub_(world_size), world_size_(world_size) {}

  void Add(std::shared_ptr<SimRank> rank);
  // The process has vanished; its peers find out when they next wait for it.
  void Remove(const SimRank* rank);
  // A rank stands still for good, and so do all that wait for it.
  void Stop() { stopped_ = true; }
  bool AllMet() const;
  bool CanMove() const;
  // One step of all that are alive, each on its own thread.
  void Move();

 private:
  LocalHub hub_;
  const int world_size_;
  bool stopped_ = false;
  std::map<int, std::shared_ptr<SimRank>> ranks_;  // by rank
};

}  // namespace birkhoff::testing
