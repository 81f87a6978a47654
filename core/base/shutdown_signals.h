// SIGTERM, SIGINT and SIGHUP as a number to ask for, not as an interruption.
//
// By handlers, since no mask reaches all threads: libraries start some before main does anything
// (OpenBLAS), and a signal that one of them takes would end the process.  And without a thread of
// its own, which may not be had where memory is short.
#pragma once

#include <signal.h>

#include <array>
#include <utility>

namespace birkhoff {

// One at a time.  The handlers before it are back when it goes.
class ShutdownSignals {
 public:
  ShutdownSignals();
  ~ShutdownSignals();
  ShutdownSignals(const ShutdownSignals&) = delete;
  ShutdownSignals& operator=(const ShutdownSignals&) = delete;

  int Count() const;  // since construction; a SIGHUP that was ignored before (nohup) stays so

 private:
  struct Taken {
    int signal = 0;
    struct sigaction before = {};
  };
  std::array<Taken, 3> taken_;
};

}  // namespace birkhoff
