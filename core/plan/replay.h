// Runs a program of all ranks in the mind: every stream in order, waits, sends that meet their
// receives, collectives that meet all members.  Says when everything ends, or what hangs.
//
// The strictest transport is assumed: a send is over only together with its receive, and neither
// starts before both are at the head of their streams.  Whatever runs under these rules also runs
// where messages may wait in slots.  The result does not depend on the order of the walk.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/plan/plan.h"

namespace birkhoff {

struct Replay {
  bool complete = false;
  std::vector<std::vector<int64_t>> start_ns;  // [rank][instruction]; of those that ran
  std::vector<std::vector<int64_t>> end_ns;
  std::vector<std::pair<int, int>> hanging;  // (rank, index): was reached, never met its peer
};

using ProgramMember = std::vector<Instruction> RankPlan::*;  // &RankPlan::train or ::evaluate

// Needs indices in range and waits that name earlier instructions.  Replicas are alike, so
// reduce-gradient takes its time and meets nobody.
Replay ReplayProgram(const Plan& plan, ProgramMember program);

}  // namespace birkhoff
