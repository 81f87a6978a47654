// WorkerService over a Coordinator: one bidirectional stream per worker, as a WorkerLink.
#pragma once

#include <cstddef>
#include <memory>

#include "absl/time/time.h"
#include "coordinator/coordinator.h"

namespace grpc {
class Service;
}

namespace birkhoff {

// What a peer may cost that is slow, lost or hostile.
struct WorkerServiceLimits {
  absl::Duration greeting = absl::Seconds(10);  // a stream without Hello ends after this
  size_t queue = 256;  // messages that wait for a worker that does not read; then its stream ends
  size_t streams = 4096;  // at once; others are told RESOURCE_EXHAUSTED
};

// An interface although there is one: it derives from a generated type, which stays in the .cc.
class WorkerService {
 public:
  // `coordinator` must outlive it; all calls must have ended before it goes.
  static std::unique_ptr<WorkerService> New(Coordinator& coordinator,
                                            const WorkerServiceLimits& limits = {});
  virtual ~WorkerService() = default;
  virtual grpc::Service* service() = 0;
  // Ends all streams, and those that come later, with UNAVAILABLE; the workers come back to the
  // coordinator that is started next, and train on meanwhile.
  virtual void EndStreams() = 0;
};

}  // namespace birkhoff
