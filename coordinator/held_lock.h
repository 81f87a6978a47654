// A lock of a mutex that notes how long it was held.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/histogram.h"

namespace birkhoff {

class ABSL_SCOPED_LOCKABLE HeldLock {
 public:
  // `seconds` is guarded by `mutex`; all must outlive the lock.
  HeldLock(absl::Mutex* mutex, const Clock& clock, Histogram* seconds)
      ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex), clock_(clock), seconds_(seconds) {
    mutex_->Lock();
    since_ = clock_.Now();
  }
  ~HeldLock() ABSL_UNLOCK_FUNCTION() {
    seconds_->Observe(absl::ToDoubleSeconds(clock_.Now() - since_));
    mutex_->Unlock();
  }
  HeldLock(const HeldLock&) = delete;
  HeldLock& operator=(const HeldLock&) = delete;

 private:
  absl::Mutex* const mutex_;
  const Clock& clock_;
  Histogram* const seconds_;
  Instant since_;
};

}  // namespace birkhoff
