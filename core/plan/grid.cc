// A row is drawn from a schedule and its timeline; a plan is turned back into a schedule first.
#include "core/plan/grid.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/ops.h"
#include "core/plan/text.h"
#include "core/plan/timeline.h"

namespace birkhoff {
namespace {

// Upper case for the second chunk of a V and for direction 1.
bool IsUpper(ScheduleKind kind, int num_stages, int num_microbatches, int stage, int microbatch) {
  if (kind == ScheduleKind::kDualPipeV) return stage >= num_stages / 2;
  return kind == ScheduleKind::kDualPipe && microbatch >= num_microbatches / 2;
}

std::string Word(ScheduleKind kind, int num_stages, int num_microbatches, Op op, int stage,
                 int microbatch) {
  const char lower = InfoOf(op).letter;
  if (lower == 0) return "";
  const bool upper = IsUpper(kind, num_stages, num_microbatches, stage, microbatch);
  const char letter = upper ? static_cast<char>(lower - 'a' + 'A') : lower;
  const int first = kind == ScheduleKind::kDualPipe && upper ? num_microbatches / 2 : 0;
  return absl::StrCat(std::string(1, letter), microbatch - first);
}

std::string ScheduleRow(const Schedule& schedule, const Timeline& timeline, int rank) {
  std::string row;
  int64_t clock = 0;
  bool in_pair = false;
  const auto& ops = schedule.ranks[rank];
  for (size_t i = 0; i < ops.size(); ++i) {
    if (const int64_t idle = timeline.start[rank][i] - clock; idle > 0) {
      absl::StrAppend(&row, row.empty() ? "" : " ", std::string(static_cast<size_t>(idle), '.'));
    }
    clock = std::max(clock, timeline.end[rank][i]);
    if (ops[i].op == Op::kOverlapEnd) {
      row += "]";
      in_pair = false;
      continue;
    }
    const bool opens = ops[i].op == Op::kOverlapBegin;
    const bool first_of_pair = i > 0 && ops[i - 1].op == Op::kOverlapBegin;
    if (!first_of_pair) absl::StrAppend(&row, in_pair ? "+" : (row.empty() ? "" : " "));
    if (opens) {
      row += "[";
      in_pair = true;
      continue;
    }
    row += Word(schedule.kind, schedule.NumStages(), schedule.num_microbatches, ops[i].op,
                ops[i].stage, ops[i].microbatch);
  }
  return row;
}

// A backward in pieces stands in the grid once: blocks at their top, and input directly followed by
// weight as one full backward.
Schedule ScheduleOfPlan(const Plan& plan) {
  Schedule schedule{plan.schedule, plan.num_microbatches, {}, {}};
  for (const Stage& stage : plan.stages) schedule.stage_ranks.push_back(stage.ranks);
  for (const RankPlan& rank : plan.ranks) {
    std::vector<ScheduledOp> ops;
    for (const Instruction& instruction : rank.train) {
      const ScheduledOp op{instruction.op, instruction.stage, instruction.microbatch};
      const bool marker = op.op == Op::kOverlapBegin || op.op == Op::kOverlapEnd;
      if (!marker && (InfoOf(op.op).letter == 0 || op.op == Op::kRecompute)) continue;
      if (!ops.empty() && !marker && ops.back() == op) continue;
      const ScheduledOp input{Op::kBackwardInput, op.stage, op.microbatch};
      if (op.op == Op::kBackwardWeight && !ops.empty() && ops.back() == input) {
        ops.back().op = Op::kBackward;
      } else {
        ops.push_back(op);
      }
    }
    schedule.ranks.push_back(std::move(ops));
  }
  return schedule;
}

}  // namespace

std::string GridWord(const Plan& plan, const Instruction& instruction, int microbatches) {
  return Word(plan.schedule, plan.NumStages(), microbatches, instruction.op, instruction.stage,
              instruction.microbatch);
}

std::string ScheduleGrid(const Schedule& schedule, bool atomic) {
  TimelineCosts costs = UnitCosts(schedule);
  costs.atomic = atomic;
  const Timeline timeline = TimeSchedule(schedule, costs);
  std::string grid;
  for (int rank = 0; rank < schedule.NumRanks(); ++rank) {
    absl::StrAppend(&grid, "r", rank, " ", ScheduleRow(schedule, timeline, rank), "\n");
  }
  return grid;
}

std::string PlanGrid(const Plan& plan) {
  return ScheduleGrid(ScheduleOfPlan(plan), /*atomic=*/false);
}

}  // namespace birkhoff
