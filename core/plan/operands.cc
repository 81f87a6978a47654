// The row of the table, and what depends on the place: the first segment fills what the others
// read, the last one releases.
#include "core/plan/operands.h"

namespace birkhoff {
UnitRange SegmentOfBlock(const StageLayout& layout, size_t block) {
  const auto& blocks = layout.recompute_blocks;
  return {block == 0 ? layout.units.first : blocks[block].first,
          block + 1 == blocks.size() ? layout.units.last : blocks[block].last};
}

UnitRange BlockOfSegment(const StageLayout& layout, UnitRange segment) {
  for (size_t block = 0; block < layout.recompute_blocks.size(); ++block) {
    if (SegmentOfBlock(layout, block) == segment) return layout.recompute_blocks[block];
  }
  return {};
}

HomeSet HomesOf(const StageLayout& layout) {
  HomeSet homes;
  for (int home = 0; home < kNumHomes; ++home) {
    if (layout.bytes[home] > 0) homes.Add(static_cast<Home>(home));
  }
  return homes;
}

Operands OperandsOf(Op op, const StageLayout& layout, SegmentPosition position, bool evaluates) {
  const OpInfo& info = InfoOf(op);
  Operands operands{.reads = info.reads, .fills = info.fills, .released = info.released};
  HomeSet& advanced = position.first ? operands.fills : operands.reads;
  advanced = advanced | info.advances;
  if (position.last) operands.released = operands.released | info.released_by_last;
  if (evaluates) operands.released = operands.released | info.released_in_evaluation;
  // Without a stage before this one the gradient goes nowhere.
  if (position.last && info.input_gradient && layout.units.first == 0) {
    operands.released.Add(Home::kGradientOut);
  }
  const HomeSet present = HomesOf(layout);
  operands.reads = operands.reads & present;
  operands.fills = operands.fills & present;
  operands.released = operands.released & present;
  return operands;
}

Home HandOffTarget(Op op) { return InfoOf(op).towards > 0 ? Home::kInput : Home::kGradientIn; }

int HandOffTargetStage(Op op, int stage) { return stage + InfoOf(op).towards; }

}  // namespace birkhoff
