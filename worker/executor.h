// Runs one program of a plan: one loop, one switch over instruction kinds.  Knows no schedule,
// derives nothing.
//
// The host only enqueues: every stream of the plan is a Stream of the device, every wait an Event.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/plan/plan.h"
#include "kernels/device.h"
#include "worker/activity.h"
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
  virtual ~Executor() = default;

  // Enqueues the whole train program behind what `control` holds, and lets `control` wait for its
  // end.  At most steps_in_flight more than were finished.  `replay`: the hooks would enqueue what
  // they did before, so that it may be a graph of that, with the same bits.
  virtual void StartTrain(int64_t target_tokens, Stream& control, bool replay) = 0;
  // Waits for the end of the oldest program that was started.  Errors: the transport's first error,
  // with the instruction named; UNAVAILABLE the device has failed.
  virtual absl::Status FinishTrain() = 0;

  // Both at once.
  virtual absl::Status RunTrain(int64_t target_tokens) = 0;
  virtual absl::Status RunEvaluate() = 0;
  // Of the last program, by instruction index.
  virtual const std::vector<InstructionTime>& times() const = 0;
  virtual Utilization utilization() const = 0;  // of the last program
  // Of the oldest program that runs: the first instruction that has not finished, and whom it
  // waits for.  All before it have finished, so that it is not held up by one of its own rank.  Any
  // thread.
  virtual Doing Look() const = 0;
};

// What the log says of steps without a graph.
std::string NotReplayed(absl::string_view why);

}  // namespace birkhoff
