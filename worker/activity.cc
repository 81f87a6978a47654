// A look puts three parts together: what the main thread began, what the followed program is at,
// and every scope that is open.
#include "worker/activity.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace birkhoff {

Activity::Scope::Scope(Activity& activity, std::string what, std::vector<int> peers)
    : activity_(activity) {
  absl::MutexLock lock(&activity_.mutex_);
  ++activity_.marks_;
  entry_ =
      activity_.scopes_.insert(activity_.scopes_.end(), {0, std::move(what), std::move(peers)});
}

Activity::Scope::~Scope() {
  absl::MutexLock lock(&activity_.mutex_);
  ++activity_.marks_;
  activity_.scopes_.erase(entry_);
}

void Activity::Begin(std::string what, std::vector<int> peers) {
  absl::MutexLock lock(&mutex_);
  ++marks_;
  what_ = std::move(what);
  peers_ = std::move(peers);
}

void Activity::Mark() {
  absl::MutexLock lock(&mutex_);
  ++marks_;
}

void Activity::Follow(std::function<Doing()> follow) {
  absl::MutexLock lock(&mutex_);
  ++marks_;
  follow_ = std::move(follow);
}

Doing Activity::Look() const {
  absl::MutexLock lock(&mutex_);
  Doing doing{marks_, what_, peers_};
  const auto add = [&doing](const Doing& part) {
    doing.marks += part.marks;
    absl::StrAppend(&doing.what, doing.what.empty() || part.what.empty() ? "" : ", ", part.what);
    doing.peers.insert(doing.peers.end(), part.peers.begin(), part.peers.end());
  };
  if (follow_) add(follow_());
  for (const Doing& scope : scopes_) add(scope);
  return doing;
}

}  // namespace birkhoff
