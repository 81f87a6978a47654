// An attempt stands still when even the rank that moved last is beyond the limit; the blame goes to
// the first rank in the order of IsEarlier, which looks for causes before those who wait for them.
#include "coordinator/progress_watch.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace birkhoff {
namespace {

constexpr int kStepsOfPatience = 10;
constexpr absl::Duration kLongestStep = absl::Hours(24);

// A sentence has room for a few.
std::string SomeOf(std::vector<std::string> names) {
  constexpr size_t kMost = 4;
  if (names.size() > kMost) {
    const size_t left = names.size() - kMost;
    names.resize(kMost);
    names.push_back(absl::StrCat(left, " more"));
  }
  return absl::StrJoin(names, ", ");
}

}  // namespace

void ProgressWatch::Begin(Instant now, int num_ranks, absl::Duration predicted_step) {
  ranks_.assign(num_ranks, Rank{now, false, std::nullopt});
  SawStep(predicted_step);
}

void ProgressWatch::Moved(Instant now, int rank) {
  if (rank >= 0 && rank < static_cast<int>(ranks_.size())) ranks_[rank].moved = now;
}

void ProgressWatch::Heard(Instant now, const RankActivity& activity) {
  if (activity.rank < 0 || activity.rank >= static_cast<int>(ranks_.size())) return;
  Rank& rank = ranks_[activity.rank];
  if (!rank.activity.has_value() || rank.activity->marks != activity.marks) rank.moved = now;
  rank.activity = activity;
}

// A worker may say anything.
void ProgressWatch::SawStep(absl::Duration duration) {
  step_ = std::max(step_, std::min(duration, kLongestStep));
}

void ProgressWatch::Gone(int rank) {
  if (rank >= 0 && rank < static_cast<int>(ranks_.size())) ranks_[rank].gone = true;
}

void ProgressWatch::Extend(absl::Duration by) {
  for (Rank& rank : ranks_) rank.moved = rank.moved + by;
}

absl::Duration ProgressWatch::Limit() const { return limit_ + kStepsOfPatience * step_; }

// Whom to blame first: a process that does not run; one that waits for no other rank; the one that
// has stood still for longest.
bool ProgressWatch::IsEarlier(int a, int b) const {
  const auto key = [this](int number) {
    const Rank& rank = ranks_[number];
    const bool runs = !rank.activity.has_value() || rank.activity->process.empty();
    const bool waits = rank.activity.has_value() && !rank.activity->peers.empty();
    return std::tuple(rank.gone, runs, waits, rank.moved, number);
  };
  return key(a) < key(b);
}

std::string ProgressWatch::WaitersOf(int rank) const {
  std::vector<std::string> waiters;
  for (int other = 0; other < static_cast<int>(ranks_.size()); ++other) {
    const Rank& one = ranks_[other];
    if (one.gone || other == rank || !one.activity.has_value()) continue;
    const bool waits = std::ranges::count(one.activity->peers, rank) > 0;
    if (waits) waiters.push_back(absl::StrCat("rank ", other, " (", one.activity->what, ")"));
  }
  return SomeOf(std::move(waiters));
}

std::string ProgressWatch::WordsOn(int number, absl::Duration still) const {
  const Rank& rank = ranks_[number];
  std::string words = absl::StrCat("has not moved for ",
                                   absl::FormatDuration(absl::Floor(still, absl::Milliseconds(1))));
  if (!rank.activity.has_value()) return words + ": nothing is known of what it does";
  const RankActivity& activity = *rank.activity;
  if (!activity.process.empty()) absl::StrAppend(&words, " (its process: ", activity.process, ")");
  absl::StrAppend(&words, ": ", activity.what);
  std::vector<std::string> peers;
  for (const int peer : activity.peers) peers.push_back(absl::StrCat("rank ", peer));
  if (!peers.empty()) absl::StrAppend(&words, ", waits for ", SomeOf(std::move(peers)));
  const std::string waiters = WaitersOf(number);
  if (!waiters.empty()) absl::StrAppend(&words, "; for it waits ", waiters);
  return words;
}

std::optional<ProgressWatch::Verdict> ProgressWatch::Judge(Instant now) const {
  std::optional<Instant> latest;
  int blamed = 0;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    const Instant moved = ranks_[rank].moved;
    if (!ranks_[rank].gone) latest = std::max(latest.value_or(moved), moved);
    if (IsEarlier(rank, blamed)) blamed = rank;
  }
  if (!latest.has_value() || now - *latest <= Limit()) return std::nullopt;
  return Verdict{blamed, WordsOn(blamed, now - ranks_[blamed].moved)};
}

}  // namespace birkhoff
