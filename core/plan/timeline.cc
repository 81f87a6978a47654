// Each rank in turn runs on as long as what it needs is known, until none moves; what is left then
// waits for ever.
#include "core/plan/timeline.h"

#include <algorithm>
#include <vector>

namespace birkhoff {
namespace {

constexpr int64_t kUnknown = -1;

class ScheduleTimer {
 public:
  ScheduleTimer(const Schedule& schedule, const TimelineCosts& costs)
      : schedule_(schedule),
        costs_(costs),
        activation_(schedule.NumStages() * size_t(schedule.num_microbatches), kUnknown),
        gradient_(activation_.size(), kUnknown) {}

  Timeline Run() {
    const int num_ranks = schedule_.NumRanks();
    next_.assign(num_ranks, 0);
    clock_.assign(num_ranks, 0);
    for (const auto& ops : schedule_.ranks) {
      timeline_.start.emplace_back(ops.size(), kUnknown);
      timeline_.end.emplace_back(ops.size(), kUnknown);
    }
    bool moved = true;
    while (moved) {
      moved = false;
      for (int rank = 0; rank < num_ranks; ++rank) {
        while (Advance(rank)) moved = true;
      }
    }
    Summarise();
    return std::move(timeline_);
  }

 private:
  size_t Cell(int stage, int microbatch) const {
    return stage * size_t(schedule_.num_microbatches) + microbatch;
  }

  // When what the op needs is at its rank; kUnknown: not yet known.
  int64_t Available(int rank, const ScheduledOp& op) const {
    if (op.op == Op::kForward && op.stage > 0) {
      return Arrival(activation_, rank, op.stage - 1, op.microbatch);
    }
    const bool backward = op.op == Op::kBackward || op.op == Op::kBackwardInput;
    if (backward && op.stage + 1 < schedule_.NumStages()) {
      return Arrival(gradient_, rank, op.stage + 1, op.microbatch);
    }
    return 0;
  }

  int64_t Arrival(const std::vector<int64_t>& made, int rank, int stage, int microbatch) const {
    const int64_t at = made[Cell(stage, microbatch)];
    if (at == kUnknown || schedule_.RankOf(stage, microbatch) == rank) return at;
    return at + costs_.transfer;
  }

  int64_t Duration(const ScheduledOp& op) const {
    switch (op.op) {
      case Op::kForward:
        return costs_.forward[op.stage];
      case Op::kBackwardInput:
        return costs_.backward_input[op.stage];
      case Op::kBackwardWeight:
        return costs_.backward_weight[op.stage];
      case Op::kBackward:
        return costs_.backward_input[op.stage] + costs_.backward_weight[op.stage];
      default:
        return 0;
    }
  }

  // Runs the next step of a rank: an op, or with atomic costs a whole pair.
  bool Advance(int rank) {
    const auto& ops = schedule_.ranks[rank];
    const int first = next_[rank];
    if (first == static_cast<int>(ops.size())) return false;
    int last = first;
    if (costs_.atomic && ops[first].op == Op::kOverlapBegin) {
      while (ops[last].op != Op::kOverlapEnd) ++last;
    }
    // It starts when all that it needs is there,
    int64_t start = clock_[rank];
    for (int i = first; i <= last; ++i) {
      const int64_t available = Available(rank, ops[i]);
      if (available == kUnknown) return false;
      start = std::max(start, available);
    }
    // runs its ops one after another,
    int64_t end = start;
    for (int i = first; i <= last; ++i) {
      timeline_.start[rank][i] = end;
      end += Duration(ops[i]);
      timeline_.end[rank][i] = end;
    }
    // and tells when what they made leaves.
    for (int i = first; i <= last; ++i) Publish(ops[i], timeline_.start[rank][i], end);
    clock_[rank] = end;
    next_[rank] = last + 1;
    return true;
  }

  void Publish(const ScheduledOp& op, int64_t start, int64_t end) {
    const bool backward = op.op == Op::kBackward || op.op == Op::kBackwardInput;
    if (op.op == Op::kForward) activation_[Cell(op.stage, op.microbatch)] = end;
    if (!backward) return;
    gradient_[Cell(op.stage, op.microbatch)] =
        costs_.atomic ? end : start + costs_.backward_input[op.stage];
  }

  void Summarise() {
    int64_t work = 0;
    timeline_.complete = true;
    for (size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
      timeline_.complete &= next_[rank] == static_cast<int>(schedule_.ranks[rank].size());
      timeline_.makespan = std::max(timeline_.makespan, clock_[rank]);
      for (const ScheduledOp& op : schedule_.ranks[rank]) work += Duration(op);
    }
    const double available =
        static_cast<double>(timeline_.makespan) * static_cast<double>(schedule_.ranks.size());
    if (available > 0.0) timeline_.idle_share = 1.0 - static_cast<double>(work) / available;
  }

  const Schedule& schedule_;
  const TimelineCosts& costs_;
  std::vector<int64_t> activation_, gradient_;  // [stage][micro-batch]: when they leave
  std::vector<int> next_;                       // by rank: next op
  std::vector<int64_t> clock_;                  // by rank: end of its last op
  Timeline timeline_;
};

}  // namespace

Timeline TimeSchedule(const Schedule& schedule, const TimelineCosts& costs) {
  return ScheduleTimer(schedule, costs).Run();
}

TimelineCosts UnitCosts(const Schedule& schedule) {
  const std::vector<int64_t> ones(schedule.stage_ranks.size(), 1);
  return {.forward = ones, .backward_input = ones, .backward_weight = ones};
}

}  // namespace birkhoff
