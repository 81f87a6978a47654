// JobService over a Coordinator: translates requests and answers, and takes no decision of its own.
#pragma once

#include <memory>
#include <string>

#include "coordinator/coordinator.h"

namespace grpc {
class Service;
}

namespace birkhoff {

// One object serves all calls.  Handlers wait for no event: a watch is a reactor that the
// coordinator wakes.  They do take as long as the coordinator takes for them: its lock, the disk
// under its store, and for CreateJob and CancelJob the planning of what can be placed then.  The
// service must be gone from its server before it is destroyed.
//
// An interface although there is one: it derives from a generated type, which stays in the .cc.
class JobService {
 public:
  // `coordinator` must outlive it; `version` is what GetVersion answers.
  static std::unique_ptr<JobService> New(Coordinator& coordinator, std::string version);
  virtual ~JobService() = default;
  virtual grpc::Service* service() = 0;
  virtual void EndWatches() = 0;  // with UNAVAILABLE: watchers go on at the next coordinator
};

}  // namespace birkhoff
