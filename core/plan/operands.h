// What every kind of instruction does to memory: the meaning that passes and checker share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "core/plan/instruction.h"
#include "core/spec/footprint.h"

namespace birkhoff {

// A set of homes, one bit each.
class HomeSet {
 public:
  constexpr HomeSet() = default;
  constexpr HomeSet(std::initializer_list<Home> homes) {
    for (const Home home : homes) bits_ |= Bit(home);
  }
  constexpr bool Has(Home home) const { return (bits_ & Bit(home)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr void Add(Home home) { bits_ |= Bit(home); }
  constexpr HomeSet operator|(HomeSet other) const { return HomeSet(bits_ | other.bits_); }
  constexpr HomeSet operator&(HomeSet other) const { return HomeSet(bits_ & other.bits_); }
  friend constexpr bool operator==(HomeSet, HomeSet) = default;

 private:
  constexpr explicit HomeSet(int bits) : bits_(static_cast<uint16_t>(bits)) {}
  static constexpr uint16_t Bit(Home home) {
    return static_cast<uint16_t>(1 << static_cast<int>(home));
  }
  uint16_t bits_ = 0;
};

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

// Load, receive, send, hand-off, forward, recompute and the backwards; nothing for the others.  A
// home for which the stage has no bytes is left out.  `evaluates`: the program has no backward.
Operands OperandsOf(Op op, const StageLayout& layout, SegmentPosition position, bool evaluates);

// The one home that a hand-off fills at the receiving stage: s + 1 for activations, s - 1 for
// gradients.
Home HandOffTarget(Op op);
int HandOffTargetStage(Op op, int stage);

bool IsCompute(Op op);  // forward, recompute and the backwards
bool IsSend(Op op);
bool IsReceive(Op op);
bool IsHandOff(Op op);
bool IsCollective(Op op);            // exchange-copies, reduce-gradient, agree
bool ComputesInputGradient(Op op);   // backward-input, backward
bool ComputesWeightGradient(Op op);  // backward-weight, backward

// The units of the backward instruction that covers recompute block number `block`: the stage's
// embedding and head go with the block beside them.
UnitRange SegmentOfBlock(const StageLayout& layout, size_t block);
// The other way round; empty where no block has this segment.
UnitRange BlockOfSegment(const StageLayout& layout, UnitRange segment);

// All homes with bytes in this stage.
HomeSet HomesOf(const StageLayout& layout);

}  // namespace birkhoff
