// The parts of the proof that one program of one rank gives: it is followed instruction by
// instruction, with what every buffer holds.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "core/plan/plan.h"
#include "core/spec/footprint.h"

namespace birkhoff {

struct PlannedMessage {
  int rank = 0;
  int index = 0;
  int stage = 0;
  int microbatch = 0;
};

// What a program puts on a channel and takes from it, in order.
struct ChannelTraffic {
  std::vector<PlannedMessage> sends;
  std::vector<PlannedMessage> receives;
};

struct RankProgram {
  int rank = 0;
  bool evaluates = false;
};

// Proves for the program: every field makes sense; each (stage, micro-batch) that the rank runs has
// one forward and, when training, one backward in segments from the top down; every buffer that is
// read holds exactly what is needed, and every one that is filled is empty; whatever touches a
// buffer is ordered after what touched it before, also across streams; nothing is lost or kept;
// gradients are complete before they are summed, summed before agree, and so on.
//
// Appends the program's messages to `traffic` (by channel) and raises `most_stored` (by stage) to
// the largest number of micro-batches between forward and backward.  Needs checked tables.
absl::Status CheckRankProgram(const Plan& plan, const std::vector<StageLayout>& layouts,
                              RankProgram which, std::vector<ChannelTraffic>* traffic,
                              std::vector<int>* most_stored);

}  // namespace birkhoff
