#include "core/plan/operands.h"

namespace birkhoff {
namespace {

Operands ForwardOperands(bool evaluates) {
  return {.reads = {Home::kBatch, Home::kInput},
          .fills = {Home::kSaved, Home::kKept, Home::kOutput, Home::kScratch},
          .released = evaluates ? HomeSet{Home::kBatch, Home::kInput, Home::kSaved, Home::kKept}
                                : HomeSet{}};
}

// Input gradient, alone or with the weight gradient (`both`).
Operands BackwardOperands(const StageLayout& layout, SegmentPosition position, bool both) {
  Operands operands;
  operands.reads = {Home::kBatch, Home::kInput, Home::kSaved, Home::kKept, Home::kGradientIn};
  if (!layout.recompute_blocks.empty()) {
    operands.reads.Add(Home::kRecompute);
    operands.released.Add(Home::kRecompute);
  }
  HomeSet advanced = {Home::kGradientOut};
  if (!both) advanced.Add(Home::kPending);
  operands.fills = {Home::kScratch};
  (position.first ? operands.fills : operands.reads) =
      (position.first ? operands.fills : operands.reads) | advanced;
  if (position.last) {
    operands.released = operands.released | HomeSet{Home::kInput, Home::kSaved, Home::kGradientIn};
    if (both) operands.released = operands.released | HomeSet{Home::kBatch, Home::kKept};
    // Without a stage before this one the gradient goes nowhere.
    if (layout.units.first == 0) operands.released.Add(Home::kGradientOut);
  }
  return operands;
}

Operands WeightOperands(SegmentPosition position) {
  Operands operands;
  operands.reads = {Home::kBatch, Home::kKept, Home::kPending};
  operands.fills = {Home::kScratch};
  if (position.last) operands.released = operands.reads;
  return operands;
}

Operands AllOperands(Op op, const StageLayout& layout, SegmentPosition position, bool evaluates) {
  switch (op) {
    case Op::kLoad:
      return {.reads = {}, .fills = {Home::kBatch}, .released = {}};
    case Op::kForward:
      return ForwardOperands(evaluates);
    case Op::kBackwardInput:
      return BackwardOperands(layout, position, /*both=*/false);
    case Op::kBackward:
      return BackwardOperands(layout, position, /*both=*/true);
    case Op::kBackwardWeight:
      return WeightOperands(position);
    case Op::kRecompute:
      return {.reads = {Home::kBatch, Home::kInput, Home::kSaved, Home::kKept},
              .fills = {Home::kRecompute, Home::kScratch},
              .released = {}};
    case Op::kReceiveActivation:
      return {.reads = {}, .fills = {Home::kInput}, .released = {}};
    case Op::kReceiveGradient:
      return {.reads = {}, .fills = {Home::kGradientIn}, .released = {}};
    case Op::kSendActivation:
    case Op::kHandOffActivation:
      return {.reads = {Home::kOutput}, .fills = {}, .released = {Home::kOutput}};
    case Op::kSendGradient:
    case Op::kHandOffGradient:
      return {.reads = {Home::kGradientOut}, .fills = {}, .released = {Home::kGradientOut}};
    default:
      return {};
  }
}

}  // namespace

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
  Operands operands = AllOperands(op, layout, position, evaluates);
  const HomeSet present = HomesOf(layout);
  operands.reads = operands.reads & present;
  operands.fills = operands.fills & present;
  operands.released = operands.released & present;
  return operands;
}

Home HandOffTarget(Op op) {
  return op == Op::kHandOffActivation ? Home::kInput : Home::kGradientIn;
}

int HandOffTargetStage(Op op, int stage) {
  return op == Op::kHandOffActivation ? stage + 1 : stage - 1;
}

bool IsCompute(Op op) {
  return op == Op::kForward || op == Op::kBackwardInput || op == Op::kBackwardWeight ||
         op == Op::kBackward || op == Op::kRecompute;
}

bool IsSend(Op op) { return op == Op::kSendActivation || op == Op::kSendGradient; }

bool IsReceive(Op op) { return op == Op::kReceiveActivation || op == Op::kReceiveGradient; }

bool IsHandOff(Op op) { return op == Op::kHandOffActivation || op == Op::kHandOffGradient; }

bool IsCollective(Op op) {
  return op == Op::kExchangeCopies || op == Op::kReduceGradient || op == Op::kAgree;
}

bool ComputesInputGradient(Op op) { return op == Op::kBackwardInput || op == Op::kBackward; }

bool ComputesWeightGradient(Op op) { return op == Op::kBackwardWeight || op == Op::kBackward; }

}  // namespace birkhoff
