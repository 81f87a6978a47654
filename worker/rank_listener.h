// Who hears what a rank has to say.
#pragma once

#include "core/protocol/messages.h"

namespace birkhoff {

// Where a rank's news go: over a pipe to the supervisor, or straight into a test.  Called from any
// thread of the rank.
class RankListener {
 public:
  virtual ~RankListener() = default;
  // RankReady, StepDone, ShardDurable, CheckpointCommitted, CheckpointFailed, Noticed
  virtual void Send(WorkerPayload payload) = 0;
};

}  // namespace birkhoff
