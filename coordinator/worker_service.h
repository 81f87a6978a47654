// WorkerService over a Coordinator: one bidirectional stream per worker, as a WorkerLink.
#pragma once

#include <memory>

#include "coordinator/coordinator.h"

namespace grpc {
class Service;
}

namespace birkhoff {

class WorkerService {
 public:
  // `coordinator` must outlive it.
  static std::unique_ptr<WorkerService> New(Coordinator& coordinator);
  virtual ~WorkerService() = default;
  virtual grpc::Service* service() = 0;
};

}  // namespace birkhoff
