// LowerCompute: step by step of the schedule; AddFullBackward alone looks at other ranks.
#include <utility>
#include <vector>

#include "core/plan/lower.h"
#include "core/plan/operands.h"

namespace birkhoff {
namespace {

class ComputeLowering {
 public:
  ComputeLowering(const LowerContext& context, const Schedule& schedule, int rank)
      : context_(context), schedule_(schedule), rank_(rank) {}

  Program Lower() {
    for (const ScheduledOp& op : schedule_.ranks[rank_]) {
      if (op.op == Op::kForward) {
        Add(op, Op::kForward, Units(op.stage));
      } else if (op.op == Op::kBackwardWeight) {
        Add(op, Op::kBackwardWeight, Units(op.stage));
      } else if (op.op == Op::kBackwardInput) {
        AddBackward(op, Op::kBackwardInput);
      } else if (op.op == Op::kBackward) {
        AddFullBackward(op);
      } else {
        program_.emplace_back();
        program_.back().op = op.op;
      }
    }
    return std::move(program_);
  }

 private:
  UnitRange Units(int stage) const { return context_.plan.stages[stage].units; }

  void AddFullBackward(const ScheduledOp& op) {
    const bool leaves = op.stage > 0 && schedule_.RankOf(op.stage - 1, op.microbatch) != rank_;
    AddBackward(op, leaves ? Op::kBackwardInput : Op::kBackward);
    if (leaves) Add(op, Op::kBackwardWeight, Units(op.stage));
  }

  // One instruction, or one per recompute block from the top down.
  void AddBackward(const ScheduledOp& op, Op kind) {
    const StageLayout& layout = context_.layouts[op.stage];
    const auto& blocks = layout.recompute_blocks;
    if (blocks.empty()) return Add(op, kind, layout.units);
    for (size_t i = blocks.size(); i-- > 0;) {
      Add(op, Op::kRecompute, blocks[i]);
      Add(op, kind, SegmentOfBlock(layout, i));
    }
  }

  void Add(const ScheduledOp& op, Op kind, UnitRange units) {
    const ComputeCost cost = context_.costs.OfUnits(units);
    Instruction instruction;
    instruction.op = kind;
    instruction.stage = op.stage;
    instruction.microbatch = op.microbatch;
    instruction.segment.units = units;
    if (kind == Op::kForward) instruction.estimated_ns = cost.forward;
    if (kind == Op::kRecompute) instruction.estimated_ns = cost.recompute;
    if (ComputesInputGradient(kind)) instruction.estimated_ns += cost.backward_input;
    if (ComputesWeightGradient(kind)) instruction.estimated_ns += cost.backward_weight;
    program_.push_back(std::move(instruction));
  }

  const LowerContext& context_;
  const Schedule& schedule_;
  const int rank_;
  Program program_;
};

}  // namespace

Program LowerCompute(const LowerContext& context, const Schedule& schedule, int rank) {
  return ComputeLowering(context, schedule, rank).Lower();
}

}  // namespace birkhoff
