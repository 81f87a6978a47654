// Ctrl-C, SIGTERM and a closed terminal (SIGHUP) as something to ask for, not as an interruption.
#pragma once

#include <signal.h>

namespace birkhoff {

// From construction to destruction SIGINT, SIGTERM and SIGHUP are blocked for this thread and those
// that it starts, and are counted instead.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  int Count();  // signals since construction

 private:
  sigset_t previous_;
  int fd_ = -1;
  int count_ = 0;
};

}  // namespace birkhoff
