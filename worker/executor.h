// Runs one program of a plan: one loop, one switch over instruction kinds.  Knows no schedule,
// derives nothing.
//
// The host only enqueues: every stream of the plan is a Stream of the device, every wait an Event.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "core/plan/plan.h"
#include "kernels/device.h"
#include "worker/activity.h"
#include "worker/arena.h"
#include "worker/parameter_store.h"
#include "worker/stage.h"
#include "worker/transport.h"
#include "worker/transport/wire_transport.h"
#include "worker/utilization.h"

namespace birkhoff {

// What instructions other than compute and transfers mean to the job; implemented by the rank
// (rank.h).  Calls enqueue and never wait for the device, but they may for a disk: Prepare for the
// token files, Snapshot while the last copy is still being written.
class StepHooks {
 public:
  virtual ~StepHooks() = default;
  // What a micro-batch of the running program looks like; lives as long as the hooks.
  virtual MicrobatchShape ShapeOf(int microbatch) const = 0;
  // The host's part of a load, on the host alone: before each Load, and before each replay of it.
  virtual void Prepare(int /*stage*/, int /*microbatch*/) {}
  // Fills the kBatch buffer of (stage, micro-batch), from the same memory each time that a program
  // has its turn.
  virtual void Load(Stream& stream, int stage, int microbatch, const StageBuffers& buffers) = 0;
  virtual void Agree(Stream& stream) = 0;
  virtual void Optimizer(Stream& stream) = 0;
  virtual void Snapshot(Stream& stream) = 0;
};

class Executor {
 public:
  // The plan, device, transport, stages (by plan stage index, null where this rank has none) and
  // store must outlive it.
  struct Parts {
    const Plan* plan = nullptr;
    int rank = 0;  // pipeline rank
    int replica = 0;
    int attempt = 0;
    Device* device = nullptr;
    Transport* transport = nullptr;
    ParameterStore* store = nullptr;
    std::vector<StageModule*> stages;
    StepHooks* hooks = nullptr;
    int steps_in_flight = 1;    // train programs that may be enqueued at a time
    bool poison = kDebugBuild;  // fill freed buffers with NaN, so that a use after free shows
    bool graphs = false;        // replay steps as graphs, where the device can
    std::function<void(const std::string& line)> log = nullptr;  // nobody reads
  };
  static absl::StatusOr<std::unique_ptr<Executor>> Create(const Parts& parts);

  // Enqueues the whole train program behind what `control` holds, and lets `control` wait for its
  // end.  At most steps_in_flight more than were finished.  `replay`: the hooks would enqueue what
  // they did before, so that it may be a graph of that, with the same bits.
  void StartTrain(int64_t target_tokens, Stream& control, bool replay);
  // Waits for the end of the oldest program that was started.  Errors: the transport's first error,
  // with the instruction named; UNAVAILABLE the device has failed.
  absl::Status FinishTrain();

  // Both at once.
  absl::Status RunTrain(int64_t target_tokens);
  absl::Status RunEvaluate();
  // Of the last program, by instruction index.
  const std::vector<InstructionTime>& times() const { return times_; }
  Utilization utilization() const;  // of the last program
  // Of the oldest program that runs: the first instruction that has not finished, and whom it
  // waits for.  All before it have finished, so that it is not held up by one of its own rank.  Any
  // thread.
  Doing Look() const;

 private:
  // A program with the events that mark when each of its instructions starts and ends.
  struct Program {
    const char* name = "";
    StageMode mode = StageMode::kTrain;
    const std::vector<Instruction>* instructions = nullptr;
    std::vector<std::unique_ptr<Event>> starts, ends;
    std::unique_ptr<Event> begin, end;                // of the whole
    std::vector<std::unique_ptr<Event>> tails;        // of each stream
    std::map<const Stream*, std::vector<int>> order;  // indices of each stream's instructions
    int64_t target_tokens = -1;                       // of the last run; arguments hold it
    std::unique_ptr<Graph> graph;                     // of such a run; null: not captured yet
  };

  Executor(const Parts& parts, std::unique_ptr<Arena> arena);
  Program MakeProgram(const char* name, StageMode mode,
                      const std::vector<Instruction>& instructions);
  void MakeStreams();
  void OrderByStream(Program& program);
  Stream& StreamOf(const Instruction& instruction);
  std::vector<Stream*> AllStreams() const;
  void Start(Program& program, Stream& control);
  void Replay(Program& program, Stream& control);
  void Run(Program& program, Stream& control);
  bool HasGraph(Program& program, Stream& control);
  void Say(const std::string& line) const;
  void EnqueueAll(Program& program, Stream& control);
  absl::Status Finish(const Program& program);
  void Enqueue(const Program& program, int index, const Instruction& instruction, Stream& stream);
  StageModule& StageOf(const Instruction& instruction) const {
    return *parts_.stages[instruction.stage];
  }
  StageBuffers BuffersOf(const Instruction& instruction) const;
  MessageStamp StampOf(int index, const Instruction& instruction, int buffer) const;
  void Send(Stream& stream, int index, const Instruction& instruction);
  void Receive(Stream& stream, int index, const Instruction& instruction);
  void HandOff(Stream& stream, const Instruction& instruction);
  void Free(Stream& stream, const Instruction& instruction);
  std::vector<int> Copies(int bucket) const;
  std::vector<int> Replicas() const;
  std::vector<int> World() const;
  std::vector<int> MembersOf(const Instruction& instruction) const;
  void Describe(const Program& program, int index, Doing* doing) const;
  void Reduce(Stream& stream, int index, int bucket, const std::vector<int>& members);
  void TakeTimes(const Program& program);
  static absl::Status Lost(const absl::Status& status);
  absl::Status Named(const Program& program, const absl::Status& status) const;

  const Parts parts_;
  const RankPlan& rank_plan_;
  const std::unique_ptr<Arena> arena_;
  DevicePtr<std::byte> scratch_;  // one per rank, for every instruction
  std::vector<Program> train_;    // one for each step in flight, in turn
  Program evaluate_;
  const Program* finished_program_ = nullptr;             // the last
  int64_t started_ = 0, finished_ = 0;                    // train programs
  std::vector<std::unique_ptr<Stream>> streams_;          // by StreamKind
  std::vector<std::unique_ptr<Stream>> channel_streams_;  // by channel
  std::unique_ptr<Stream> control_;                       // where the caller brings none
  int64_t target_tokens_ = 0;
  bool graphs_;  // steps may be replayed: wanted, and not refused by the device
  bool said_graphs_ = false;
  std::vector<InstructionTime> times_;
  mutable absl::Mutex mutex_;
  std::deque<const Program*> running_ ABSL_GUARDED_BY(mutex_);  // all enqueued, oldest first
  int64_t finished_instructions_ ABSL_GUARDED_BY(mutex_) = 0;   // of programs that are over
};

// What the log says of steps without a graph.
std::string NotReplayed(absl::string_view why);

}  // namespace birkhoff
