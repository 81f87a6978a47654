// Schedules: which rank computes what in which order.  Passes (lower.h) add all else.
//
//   1f1b       S = R.   Rank r owns stage r.  First R - 1 - r forwards, then forward and backward
//                       in turn, then the backwards that are left.
//   dualpipev  S = 2R.  Rank r owns stages r (chunk A) and 2R - 1 - r (chunk Z): a V.  Eight steps,
//                       listed in docs/plan.md.
//   dualpipe   S = R.   Rank r owns stages r (direction 0) and R - 1 - r (direction 1), so each
//                       stage has two copies: two mirrored dualpipev, each of half the ranks and
//                       half the micro-batches.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/plan/instruction.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// One step of a rank: kForward, kBackward (both halves), kBackwardInput, kBackwardWeight, a marker.
struct ScheduledOp {
  Op op = Op::kForward;
  int stage = -1;       // -1 for markers
  int microbatch = -1;  // -1 for markers
  friend bool operator==(const ScheduledOp&, const ScheduledOp&) = default;
};

struct Schedule {
  ScheduleKind kind = ScheduleKind::k1F1B;
  int num_microbatches = 0;
  std::vector<std::vector<int>> stage_ranks;  // holders by stage and direction, as Stage::ranks
  std::vector<std::vector<ScheduledOp>> ranks;

  int NumStages() const { return static_cast<int>(stage_ranks.size()); }
  int NumRanks() const { return static_cast<int>(ranks.size()); }
  int RankOf(int stage, int microbatch) const;  // as Plan::RankOf
};

// The rank among `holders` (one, or two by direction) that runs `microbatch` of `microbatches`.
int HolderOf(const std::vector<int>& holders, int microbatch, int microbatches);

// Stages of a pipeline of `ranks`, and who holds them.
std::vector<std::vector<int>> PlaceStages(ScheduleKind kind, int ranks);

// INVALID_ARGUMENT names the field, the bound and the remedy: dualpipe needs an even number of
// ranks and of micro-batches, dualpipe and dualpipev two micro-batches per rank.
absl::Status CheckScheduleLimits(ScheduleKind kind, int ranks, int microbatches);

// Training order.  Errors: those of CheckScheduleLimits.
absl::StatusOr<Schedule> MakeSchedule(ScheduleKind kind, int ranks, int microbatches);

// Forwards only, with the same placement, for any number of micro-batches (dualpipe: even).  The
// m-th forward of a direction takes slot 2m + s at stage s: the two stages of a rank differ in
// parity, so no slot is taken twice and none is lost after the start.
Schedule MakeForwardSchedule(ScheduleKind kind, int ranks, int microbatches);

// schedule_dualpipev.cc: the ops of rank `rank` of `ranks` in a V, with chunk 0 (A) or 1 (Z) in
// `stage` and the micro-batch counted within the chunk.
std::vector<ScheduledOp> DualPipeVOps(int ranks, int rank, int microbatches);

}  // namespace birkhoff
