// The answers to a rank's Meets, which come on another thread.  Thread-safe.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace birkhoff {

class MeetTable {
 public:
  void Put(const std::string& key, std::vector<std::string> bytes) {
    absl::MutexLock lock(&mutex_);
    met_[key] = std::move(bytes);
  }
  // DEADLINE_EXCEEDED: not all ranks have come within `timeout`.
  absl::StatusOr<std::vector<std::string>> Await(const std::string& key, absl::Duration timeout) {
    absl::MutexLock lock(&mutex_);
    const auto met = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return met_.contains(key); };
    if (mutex_.AwaitWithTimeout(absl::Condition(&met), timeout)) return met_.at(key);
    return absl::DeadlineExceededError(absl::StrCat(
        "meeting under ", key, ": not all ranks have come within ", absl::FormatDuration(timeout)));
  }

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::vector<std::string>> met_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace birkhoff
