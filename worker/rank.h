// One rank of one attempt: builds stages, store, transport and executor from its assignment,
// resumes from the last committed checkpoint, and trains.  No process, socket or gRPC in here:
// rank_process.cc runs it in a child process of the supervisor, tests run several as threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "core/base/disk.h"
#include "core/protocol/messages.h"
#include "kernels/device.h"
#include "kernels/gemm_choices.h"
#include "worker/activity.h"
#include "worker/transport.h"

namespace birkhoff {

// Where a rank's news go: over a pipe to the supervisor, or straight into a test.  Called from any
// thread of the rank.
class RankListener {
 public:
  virtual ~RankListener() = default;
  // RankReady, StepDone, ShardDurable, CheckpointCommitted, CheckpointFailed, Noticed
  virtual void Send(WorkerPayload payload) = 0;
};

class Rank {
 public:
  struct Environment {  // all must outlive the rank
    Device* device = nullptr;
    Transport* transport = nullptr;
    Disk* disk = nullptr;
    Clock* clock = nullptr;
    RankListener* listener = nullptr;
    double peak_flops = 0.0;       // of the device, in the plan's precision; 0: not known, no MFU
    Activity* activity = nullptr;  // null: nobody looks
    bool graphs = true;            // steps may be replayed as graphs; the bits are the same
    GemmChoices products = {};     // what a GPU's products compute with (kernels/backend.h)
    std::function<void(const std::string& line)> log = nullptr;  // null: nobody reads
  };
  // Errors: INVALID_ARGUMENT plan, hash, model, data or checkpoint do not fit; what the transport
  // says.
  static absl::StatusOr<std::unique_ptr<Rank>> Create(const Assignment& assignment,
                                                      const Environment& environment);
  virtual ~Rank() = default;

  // One optimizer step, with validation and snapshot when they are due.  True while there is
  // another.  Errors: ABORTED/UNAVAILABLE a peer or the attempt is gone; OUT_OF_RANGE the stability
  // limits are used up (exit code 73).
  virtual absl::StatusOr<bool> RunStep() = 0;
  // Asks for a checkpoint after the running step and an end with kStopped.  Any thread.
  virtual void RequestStop() = 0;
  // After RunStep has returned false: whether steps are left, because some rank was asked to stop.
  virtual bool stopped() const = 0;
  // The coordinator's word that all shards of `step` are durable (rank 0 renames).  Any thread.
  virtual void CommitCheckpoint(const birkhoff::CommitCheckpoint& commit) = 0;
  // Waits until the last checkpoint is committed or has failed.
  virtual absl::Status Finish() = 0;
};

}  // namespace birkhoff
