// Transport between ranks that are threads of one process: for tests and the simulated system.
#pragma once

#include <memory>

#include "worker/transport.h"
#include "worker/transport/wire_transport.h"

namespace birkhoff {

// Where the threads meet.  Thread-safe; must outlive the transports.
class LocalHub {
 public:
  static std::unique_ptr<LocalHub> Create(int world_size);
  virtual ~LocalHub() = default;
  virtual std::unique_ptr<Wire> Join(int rank) = 0;  // once per rank
};

std::unique_ptr<Transport> NewLocalTransport(LocalHub& hub, const Plan& plan,
                                             const WireTransportOptions& options);

}  // namespace birkhoff
