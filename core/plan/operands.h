// What every instruction does to memory where it stands: the table of ops.h for one stage, one
// segment, one program.
#pragma once

#include <cstddef>

#include "core/plan/instruction.h"
#include "core/plan/ops.h"
#include "core/spec/footprint.h"

namespace birkhoff {

// Where a segment stands in the backward pass of its stage.
struct SegmentPosition {
  bool first = true;  // the top: the first to run
  bool last = true;   // the bottom: afterwards the stage's input gradient is complete
};

// Homes of the instruction's own stage (a hand-off fills a buffer of a neighbour stage: see below).
struct Operands {
  HomeSet reads;     // must hold what the instruction needs
  HomeSet fills;     // empty before (scratch: always), hold its result afterwards
  HomeSet released;  // what nobody needs once the instruction is over
};

// A home for which the stage has no bytes is left out.  `evaluates`: the program has no backward.
Operands OperandsOf(Op op, const StageLayout& layout, SegmentPosition position, bool evaluates);

// The one home that a hand-off fills at the receiving stage: s + 1 for activations, s - 1 for
// gradients.
Home HandOffTarget(Op op);
int HandOffTargetStage(Op op, int stage);

// The units of the backward instruction that covers recompute block number `block`: the stage's
// embedding and head go with the block beside them.
UnitRange SegmentOfBlock(const StageLayout& layout, size_t block);
// The other way round; empty where no block has this segment.
UnitRange BlockOfSegment(const StageLayout& layout, UnitRange segment);

// All homes with bytes in this stage.
HomeSet HomesOf(const StageLayout& layout);

}  // namespace birkhoff
