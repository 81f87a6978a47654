// Waiting for some time of the steady clock.  absl::Mutex waits until a time of the wall clock, and
// so for an hour longer where somebody sets that back by an hour: no heartbeat may depend on it.
#pragma once

#include <condition_variable>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace birkhoff {

// Thread-safe.  Must outlive all waits.
class SteadyWait {
 public:
  // Waits until `done()`, which is asked with the mutex held, or for `timeout`; true: it is done.
  // Needs the mutex, and gives it back.
  template <typename Condition>
  bool For(absl::Mutex& mutex, absl::Duration timeout, const Condition& done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    Lock lock{mutex};
    return changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), done);
  }
  // After every change that may make a condition true.
  void Notify() { changed_.notify_all(); }

 private:
  // As the standard library spells it.
  struct Lock {
    void lock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Lock(); }
    void unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS { mutex.Unlock(); }
    absl::Mutex& mutex;
  };
  std::condition_variable_any changed_;
};

}  // namespace birkhoff
