// What a program says about itself to whoever starts and stops it: three answers, each OK or why
// not.  Start-up: it has begun its work.  Liveness: its main loop comes round; never what others
// do, because a restart must help.  Readiness: others may count on it now.
#pragma once

#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/clock.h"

namespace birkhoff {

// Thread-safe.  The clock must outlive it.
class Health {
 public:
  // A main loop that has not come round for `patience` is stuck: longer than any honest round,
  // which may hold a slow disk's write.
  explicit Health(const Clock& clock, absl::Duration patience = absl::Seconds(30));

  void Beat();  // the main loop has come round; the first time ends the start-up
  void SetReady(absl::Status ready);
  void SetStopping();  // never ready again

  absl::Status Startup() const;
  absl::Status Liveness() const;
  absl::Status Readiness() const;

 private:
  const Clock& clock_;
  const absl::Duration patience_;
  mutable absl::Mutex mutex_;
  std::optional<Instant> last_beat_ ABSL_GUARDED_BY(mutex_);  // empty: not started
  absl::Status ready_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace birkhoff
