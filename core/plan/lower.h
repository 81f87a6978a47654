// The passes between a schedule and a plan.  Each takes a rank's program and returns the next one:
//
//   LowerCompute   from the schedule: segments, recomputes, split backwards, markers
//   AddTransfers   + loads, hand-offs, sends and receives
//   AddReductions  + exchange-copies, reduce-gradient, agree, optimizer, snapshot
//   AssignBuffers  + buffers, frees and waits, for both programs of the rank at once
#pragma once

#include <vector>

#include "core/plan/cost_model.h"
#include "core/plan/memory.h"
#include "core/plan/plan.h"
#include "core/plan/schedule.h"
#include "core/spec/footprint.h"

namespace birkhoff {

using Program = std::vector<Instruction>;

// What the passes look things up in.  `plan` has its tables (stages, channels, parameters, buckets)
// and counts; all must outlive the passes.
struct LowerContext {
  const Plan& plan;
  const CostModel& costs;
  const std::vector<StageLayout>& layouts;  // by stage
  const std::vector<Holding>& holdings;     // by rank
};

// A full backward whose gradient another rank waits for becomes backward-input and backward-weight,
// so that the gradient leaves in between; the others stay whole and need no pending buffer.  With
// recompute blocks, a backward-input or backward becomes one instruction per block, from the top
// down, each behind its recompute; the first recompute does not wait for the gradient.  A
// backward-weight is always one instruction.
Program LowerCompute(const LowerContext& context, const Schedule& schedule, int rank);

// Receives stand before their user, sends and hand-offs behind their maker, loads before their
// forward.
Program AddTransfers(const LowerContext& context, const Schedule& schedule, int rank,
                     Program program);

// A bucket is reduced as soon as its last weight gradient is there and the buckets before it are
// reduced.  An evaluating program gets only agree.
Program AddReductions(const LowerContext& context, int rank, bool evaluates, Program program);

// Gives every instruction its buffers, from one pool for each (stage, home) that both programs
// share.  A pool has what the order of the instructions needs at once, and more where work on
// another stream can then run ahead: one batch, two inputs, one incoming gradient, one output and
// one outgoing gradient.  The buffer that has been free for longest is taken next.
void AssignBuffers(const LowerContext& context, RankPlan* rank_plan);

}  // namespace birkhoff
