// Whether an attempt moves: life is not progress.  Pure; time is an argument.
//
// A rank moves when it says that it is ready, tells of a step, or when the marks of its activity
// change (one for each instruction, file operation and agreement).  An attempt of which no rank has
// moved for Limit() stands still, and one of its ranks is to blame.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/protocol/messages.h"

namespace birkhoff {

class ProgressWatch {
 public:
  // `limit`: for what takes its time in any job: a disk, a device, a rank that starts.
  explicit ProgressWatch(absl::Duration limit) : limit_(limit) {}

  // An attempt begins, or is found running; nothing has been heard of it yet.
  void Begin(Instant now, int num_ranks, absl::Duration predicted_step);
  void Moved(Instant now, int rank);
  void Heard(Instant now, const RankActivity& activity);
  void SawStep(absl::Duration duration);
  void Gone(int rank);  // it has ended, and is waited for by nobody here
  // Nobody could be heard for so long.
  void Extend(absl::Duration by);

  // A step, an instruction of it the more, may take ten times as long as the longest that was seen
  // or predicted.
  absl::Duration Limit() const;
  struct Verdict {
    int rank = 0;
    std::string reason;  // what it is at, whom it waits for, who waits for it
  };
  // Nothing while the attempt moves.
  std::optional<Verdict> Judge(Instant now) const;

 private:
  struct Rank {
    Instant moved;
    bool gone = false;
    std::optional<RankActivity> activity;  // the latest
  };
  bool IsEarlier(int a, int b) const;
  std::string WaitersOf(int rank) const;
  std::string WordsOn(int rank, absl::Duration still) const;

  absl::Duration limit_;
  absl::Duration step_;  // the longest that was seen or predicted
  std::vector<Rank> ranks_;
};

}  // namespace birkhoff
