// 1f1b is written out here.  schedule_dualpipev.cc speaks of chunks A and Z, which become stages
// and micro-batches here: of one V, or of dualpipe's two halves.
#include "core/plan/schedule.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

std::vector<ScheduledOp> OneForwardOneBackwardOps(int ranks, int rank, int microbatches) {
  const int ahead = std::min(microbatches, ranks - 1 - rank);
  std::vector<ScheduledOp> ops;
  for (int m = 0; m < ahead; ++m) ops.push_back({Op::kForward, rank, m});
  for (int m = ahead; m < microbatches; ++m) {
    ops.push_back({Op::kForward, rank, m});
    ops.push_back({Op::kBackward, rank, m - ahead});
  }
  for (int m = microbatches - ahead; m < microbatches; ++m) {
    ops.push_back({Op::kBackward, rank, m});
  }
  return ops;
}

// What chunk A (0) and chunk Z (1) of a rank stand for: a stage and its first micro-batch.
struct Chunk {
  int stage = 0;
  int first_microbatch = 0;
};

std::vector<ScheduledOp> Placed(std::vector<ScheduledOp> ops, Chunk a, Chunk z) {
  for (ScheduledOp& op : ops) {
    if (op.stage < 0) continue;
    const Chunk& chunk = op.stage == 0 ? a : z;
    op.stage = chunk.stage;
    op.microbatch += chunk.first_microbatch;
  }
  return ops;
}

std::vector<ScheduledOp> RankOps(ScheduleKind kind, int ranks, int rank, int microbatches) {
  switch (kind) {
    case ScheduleKind::k1F1B:
      break;
    case ScheduleKind::kDualPipeV:
      return Placed(DualPipeVOps(ranks, rank, microbatches), {rank, 0}, {2 * ranks - 1 - rank, 0});
    case ScheduleKind::kDualPipe: {
      const int half = microbatches / 2, near = std::min(rank, ranks - 1 - rank);
      const bool second_half = rank >= ranks / 2;  // of the ranks: A belongs to direction 1
      return Placed(DualPipeVOps(ranks / 2, near, half), {near, second_half ? half : 0},
                    {ranks - 1 - near, second_half ? 0 : half});
    }
  }
  return OneForwardOneBackwardOps(ranks, rank, microbatches);
}

}  // namespace

int HolderOf(const std::vector<int>& holders, int microbatch, int microbatches) {
  if (holders.size() == 1) return holders[0];
  return microbatch < microbatches / 2 ? holders[0] : holders[1];
}

int Schedule::RankOf(int stage, int microbatch) const {
  return HolderOf(stage_ranks[stage], microbatch, num_microbatches);
}

std::vector<std::vector<int>> PlaceStages(ScheduleKind kind, int ranks) {
  const int num_stages = kind == ScheduleKind::kDualPipeV ? 2 * ranks : ranks;
  std::vector<std::vector<int>> holders(num_stages);
  for (int stage = 0; stage < num_stages; ++stage) {
    holders[stage] = {stage < ranks ? stage : num_stages - 1 - stage};
    if (kind == ScheduleKind::kDualPipe) holders[stage].push_back(ranks - 1 - stage);
  }
  return holders;
}

absl::Status CheckScheduleLimits(ScheduleKind kind, int ranks, int microbatches) {
  const std::string name = ScheduleName(kind);
  if (ranks < 1) {
    return absl::InvalidArgumentError(absl::StrCat("parallelism.pipeline_parallel_degree: ", ranks,
                                                   " is not allowed; need at least 1"));
  }
  const bool both_directions = kind == ScheduleKind::kDualPipe;
  if (both_directions && ranks % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("parallelism.schedule: dualpipe needs an even number of ranks; have ", ranks,
                     " (set parallelism.pipeline_parallel_degree to ", ranks + 1,
                     ", or parallelism.schedule to dualpipev)"));
  }
  const int needed = kind == ScheduleKind::k1F1B ? 1 : 2 * ranks;
  if (microbatches < needed) {
    return absl::InvalidArgumentError(absl::StrCat(
        "parallelism.schedule: ", name, " with ", ranks, " ranks needs at least ", needed,
        " micro-batches per step and replica; have ", microbatches,
        " (raise training.global_batch_size, lower training.micro_batch_size, or use 1f1b)"));
  }
  if (both_directions && microbatches % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "parallelism.schedule: dualpipe needs an even number of micro-batches per step and "
        "replica; have ",
        microbatches, " (change training.global_batch_size or training.micro_batch_size)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Schedule> MakeSchedule(ScheduleKind kind, int ranks, int microbatches) {
  RETURN_IF_ERROR(CheckScheduleLimits(kind, ranks, microbatches));
  Schedule schedule{kind, microbatches, PlaceStages(kind, ranks), {}};
  for (int rank = 0; rank < ranks; ++rank) {
    schedule.ranks.push_back(RankOps(kind, ranks, rank, microbatches));
  }
  return schedule;
}

Schedule MakeForwardSchedule(ScheduleKind kind, int ranks, int microbatches) {
  Schedule schedule{kind, microbatches, PlaceStages(kind, ranks), {}};
  schedule.ranks.resize(ranks);
  // Every forward with its slot, at the rank that runs it; then in the order of the slots.
  std::vector<std::vector<std::pair<int, ScheduledOp>>> slots(ranks);
  for (int stage = 0; stage < schedule.NumStages(); ++stage) {
    const int half = microbatches / 2;
    for (int m = 0; m < microbatches; ++m) {
      const bool direction1 = kind == ScheduleKind::kDualPipe && m >= half;
      const int order = direction1 ? m - half : m;
      slots[schedule.RankOf(stage, m)].push_back({2 * order + stage, {Op::kForward, stage, m}});
    }
  }
  for (int rank = 0; rank < ranks; ++rank) {
    std::stable_sort(slots[rank].begin(), slots[rank].end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& slot : slots[rank]) schedule.ranks[rank].push_back(slot.second);
  }
  return schedule;
}

}  // namespace birkhoff
