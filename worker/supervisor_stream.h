// One connection of a worker to the coordinator: writes and reads on threads of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/protocol/messages.h"

namespace birkhoff {

// An interface although there is one: it holds generated types, which stay in the .cc.
class CoordinatorStream {
 public:
  struct Callbacks {  // from a thread of the stream
    std::function<void(CoordinatorMessage)> on_message;
    std::function<void(std::string reason)> on_end;  // once, last
  };
  // A coordinator that is not there ends the stream at once.  Throws where memory or threads are
  // short, and nothing else.
  static std::unique_ptr<CoordinatorStream> Open(const std::string& address, Callbacks callbacks);
  virtual ~CoordinatorStream() = default;  // says goodbye for at most two seconds
  // Never waits.  False: the stream is ending.
  virtual bool Write(const WorkerMessage& message) = 0;
};

}  // namespace birkhoff
