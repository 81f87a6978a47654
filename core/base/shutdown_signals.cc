// The handler adds one to a counter; SA_RESTART lets system calls go on as if nothing had come.
#include "core/base/shutdown_signals.h"

#include <atomic>

namespace birkhoff {
namespace {

// The one global that a handler needs.
std::atomic<int> count = 0;
static_assert(std::atomic<int>::is_always_lock_free, "needed in a handler");

void CountSignal(int) { count.fetch_add(1); }

}  // namespace

ShutdownSignals::ShutdownSignals() {
  count = 0;
  struct sigaction action = {};
  action.sa_handler = CountSignal;
  action.sa_flags = SA_RESTART;
  size_t next = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    Taken& taken = taken_[next++];
    taken.signal = signal;
    ::sigaction(signal, nullptr, &taken.before);
    const bool stays = signal == SIGHUP && taken.before.sa_handler == SIG_IGN;
    if (!stays) ::sigaction(signal, &action, nullptr);
  }
}

ShutdownSignals::~ShutdownSignals() {
  for (const Taken& taken : taken_) ::sigaction(taken.signal, &taken.before, nullptr);
}

int ShutdownSignals::Count() const { return count; }

}  // namespace birkhoff
