// The table of instructions: what each is called, where it runs, what it names, what it does to
// memory and whom it meets.  Text, wire, checker, passes, replay and grid read this table; an
// executor alone says in code what an instruction does.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

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

// How an instruction is carried out.
enum class OpKind {
  kCompute,     // forward, recompute and the backwards
  kCopy,        // host to device
  kSend,        // meets the receive of its message
  kReceive,     // meets the send
  kHandOff,     // a message that stays on its rank
  kCollective,  // meets other ranks: see `meets`
  kStep,        // the end of a step
  kMark,        // nothing is carried out: overlap marks, frees
};

// Whom a collective meets within its replica; replicas are alike and do not appear in a plan.
enum class Meets { kNobody, kHoldersOfBucket, kAllRanks };

struct OpInfo {
  Op op = Op::kLoad;
  const char* name = "";  // "backward-input"
  OpKind kind = OpKind::kMark;

  // The fields that it has; all others are empty.
  bool stage = false;  // and micro-batch
  bool units = false;
  bool channel = false;
  bool bucket = false;
  StreamKind stream = StreamKind::kCompute;
  bool any_stream = false;  // then `stream` means nothing, and a channel comes with its stream
  bool evaluates = false;   // may stand in an evaluate program

  // Homes of its own stage.
  HomeSet reads = {};             // must hold what it needs
  HomeSet fills = {};             // empty before (scratch: always), hold its result afterwards
  HomeSet advances = {};          // filled by a pass's first segment, read by the others
  HomeSet released = {};          // what nobody needs afterwards,
  HomeSet released_by_last = {};  //   once the stage's last segment is over,
  HomeSet released_in_evaluation = {};  //   or where no backward pass comes
  int8_t towards = 0;                   // a message goes to the next (1) or the previous (-1) stage

  Meets meets = Meets::kNobody;
  bool input_gradient = false;   // it computes this
  bool weight_gradient = false;  // and that
  char letter = 0;               // in the grid; 0: left out
};

// Every instruction, by number from 1 on.
std::span<const OpInfo> AllOps();
const OpInfo& InfoOf(Op op);       // of a number that is none: "unknown", without any field
const OpInfo* FindOp(int number);  // null: no such instruction
const OpInfo* FindOp(std::string_view name);

bool IsCompute(Op op);  // forward, recompute and the backwards
bool IsSend(Op op);
bool IsReceive(Op op);
bool IsHandOff(Op op);
bool IsCollective(Op op);            // exchange-copies, reduce-gradient, agree
bool ComputesInputGradient(Op op);   // backward-input, backward
bool ComputesWeightGradient(Op op);  // backward-weight, backward

}  // namespace birkhoff
