// The three answers, from what the program's parts have said last.
#include "core/base/health.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace birkhoff {
namespace {

absl::Status Starting() { return absl::UnavailableError("starting"); }

}  // namespace

Health::Health(const Clock& clock, absl::Duration patience)
    : clock_(clock), patience_(patience), ready_(Starting()) {}

void Health::Beat() {
  const Instant now = clock_.Now();
  absl::MutexLock lock(&mutex_);
  last_beat_ = now;
}

void Health::SetReady(absl::Status ready) {
  absl::MutexLock lock(&mutex_);
  ready_ = std::move(ready);
}

void Health::SetStopping() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

absl::Status Health::Startup() const {
  absl::MutexLock lock(&mutex_);
  return last_beat_.has_value() ? absl::OkStatus() : Starting();
}

absl::Status Health::Liveness() const {
  absl::MutexLock lock(&mutex_);
  if (!last_beat_.has_value()) return absl::OkStatus();
  const absl::Duration silent = clock_.Now() - *last_beat_;
  if (silent <= patience_) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the main loop has not come round for ", absl::FormatDuration(silent)));
}

absl::Status Health::Readiness() const {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("stopping");
  return last_beat_.has_value() ? ready_ : Starting();
}

}  // namespace birkhoff
