// Tells the thread sanitizer about Abseil's locks.
//
// Debian's Abseil is built without the sanitizer, so it sees none of the synchronisation in there
// and takes every guarded field for a race.  In `tsan` builds the linker sends our calls of Mutex
// and Notification through the functions below (--wrap, cmake/Targets.cmake), which say what was
// locked and do the real call.  Conditions are evaluated inside the real calls, where the sanitizer
// looks away.  A method that is missing here shows as false reports, never as silence.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

// The names are mangled as `absl::Mutex::Lock` and so on; Debian's inline namespace is debian3.
#define BIRKHOFF_WRAP(result, name, ...)        \
  extern "C" result __real_##name(__VA_ARGS__); \
  extern "C" result __wrap_##name(__VA_ARGS__)

using absl::Condition;
using absl::Duration;
using absl::Mutex;
using absl::Notification;

namespace {

// While this lives the mutex counts as released, and as taken again at the end: what waiting does.
class Released {
 public:
  explicit Released(Mutex* mutex) : mutex_(mutex) {
    __tsan_mutex_pre_unlock(mutex_, 0);
    __tsan_mutex_post_unlock(mutex_, 0);
    __tsan_mutex_pre_lock(mutex_, 0);
  }
  ~Released() { __tsan_mutex_post_lock(mutex_, 0, 0); }

 private:
  Mutex* const mutex_;
};

// What Notification::HasBeenNotified, inline in the header, reads: the field after the mutex.
void* Flag(const Notification* notification) {
  return reinterpret_cast<char*>(const_cast<Notification*>(notification)) + sizeof(Mutex);
}

}  // namespace

BIRKHOFF_WRAP(void, _ZN4absl7debian35Mutex4LockEv, Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, 0);
  __real__ZN4absl7debian35Mutex4LockEv(mutex);
  __tsan_mutex_post_lock(mutex, 0, 0);
}

BIRKHOFF_WRAP(void, _ZN4absl7debian35Mutex6UnlockEv, Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __real__ZN4absl7debian35Mutex6UnlockEv(mutex);
  __tsan_mutex_post_unlock(mutex, 0);
}

BIRKHOFF_WRAP(void, _ZN4absl7debian35MutexD1Ev, Mutex* mutex) {
  __tsan_mutex_destroy(mutex, 0);
  __real__ZN4absl7debian35MutexD1Ev(mutex);
}

BIRKHOFF_WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, Mutex* mutex,
              const Condition& condition) {
  const Released released(mutex);
  __real__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(mutex, condition);
}

BIRKHOFF_WRAP(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE,
              Mutex* mutex, const Condition& condition, Duration timeout) {
  const Released released(mutex);
  return __real__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(
      mutex, condition, timeout);
}

BIRKHOFF_WRAP(void, _ZN4absl7debian312Notification6NotifyEv, Notification* notification) {
  __tsan_release(Flag(notification));
  __real__ZN4absl7debian312Notification6NotifyEv(notification);
}

BIRKHOFF_WRAP(void, _ZNK4absl7debian312Notification19WaitForNotificationEv,
              const Notification* notification) {
  __real__ZNK4absl7debian312Notification19WaitForNotificationEv(notification);
  __tsan_acquire(Flag(notification));
}

BIRKHOFF_WRAP(bool, _ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE,
              const Notification* notification, Duration timeout) {
  const bool reached =
      __real__ZNK4absl7debian312Notification30WaitForNotificationWithTimeoutENS0_8DurationE(
          notification, timeout);
  if (reached) __tsan_acquire(Flag(notification));
  return reached;
}
