// The table itself, a row for each number; what a row does not name is empty.
#include "core/plan/ops.h"

#include <iterator>

namespace birkhoff {
namespace {

constexpr HomeSet kStored = {Home::kBatch, Home::kInput, Home::kSaved, Home::kKept};
// What an input gradient needs.
constexpr HomeSet kForInputGradient = {Home::kBatch, Home::kInput,      Home::kSaved,
                                       Home::kKept,  Home::kGradientIn, Home::kRecompute};
constexpr HomeSet kForWeightGradient = {Home::kBatch, Home::kKept, Home::kPending};

constexpr OpInfo kOps[] = {
    {.op = Op::kLoad,
     .name = "load",
     .kind = OpKind::kCopy,
     .stage = true,
     .stream = StreamKind::kCopy,
     .evaluates = true,
     .fills = {Home::kBatch}},
    {.op = Op::kForward,
     .name = "forward",
     .kind = OpKind::kCompute,
     .stage = true,
     .units = true,
     .evaluates = true,
     .reads = {Home::kBatch, Home::kInput},
     .fills = {Home::kSaved, Home::kKept, Home::kOutput, Home::kScratch},
     .released_in_evaluation = kStored,
     .letter = 'f'},
    {.op = Op::kBackwardInput,
     .name = "backward-input",
     .kind = OpKind::kCompute,
     .stage = true,
     .units = true,
     .reads = kForInputGradient,
     .fills = {Home::kScratch},
     .advances = {Home::kGradientOut, Home::kPending},
     .released = {Home::kRecompute},
     .released_by_last = {Home::kInput, Home::kSaved, Home::kGradientIn},
     .input_gradient = true,
     .letter = 'i'},
    {.op = Op::kBackwardWeight,
     .name = "backward-weight",
     .kind = OpKind::kCompute,
     .stage = true,
     .units = true,
     .reads = kForWeightGradient,
     .fills = {Home::kScratch},
     .released_by_last = kForWeightGradient,
     .weight_gradient = true,
     .letter = 'w'},
    {.op = Op::kBackward,
     .name = "backward",
     .kind = OpKind::kCompute,
     .stage = true,
     .units = true,
     .reads = kForInputGradient,
     .fills = {Home::kScratch},
     .advances = {Home::kGradientOut},
     .released = {Home::kRecompute},
     .released_by_last = kStored | HomeSet{Home::kGradientIn},
     .input_gradient = true,
     .weight_gradient = true,
     .letter = 'b'},
    {.op = Op::kRecompute,
     .name = "recompute",
     .kind = OpKind::kCompute,
     .stage = true,
     .units = true,
     .reads = kStored,
     .fills = {Home::kRecompute, Home::kScratch},
     .letter = 'r'},
    {.op = Op::kSendActivation,
     .name = "send-activation",
     .kind = OpKind::kSend,
     .stage = true,
     .channel = true,
     .stream = StreamKind::kChannel,
     .evaluates = true,
     .reads = {Home::kOutput},
     .released = {Home::kOutput},
     .towards = 1},
    {.op = Op::kReceiveActivation,
     .name = "receive-activation",
     .kind = OpKind::kReceive,
     .stage = true,
     .channel = true,
     .stream = StreamKind::kChannel,
     .evaluates = true,
     .fills = {Home::kInput},
     .towards = 1},
    {.op = Op::kSendGradient,
     .name = "send-gradient",
     .kind = OpKind::kSend,
     .stage = true,
     .channel = true,
     .stream = StreamKind::kChannel,
     .reads = {Home::kGradientOut},
     .released = {Home::kGradientOut},
     .towards = -1},
    {.op = Op::kReceiveGradient,
     .name = "receive-gradient",
     .kind = OpKind::kReceive,
     .stage = true,
     .channel = true,
     .stream = StreamKind::kChannel,
     .fills = {Home::kGradientIn},
     .towards = -1},
    {.op = Op::kHandOffActivation,
     .name = "hand-off-activation",
     .kind = OpKind::kHandOff,
     .stage = true,
     .evaluates = true,
     .reads = {Home::kOutput},
     .released = {Home::kOutput},
     .towards = 1},
    {.op = Op::kHandOffGradient,
     .name = "hand-off-gradient",
     .kind = OpKind::kHandOff,
     .stage = true,
     .reads = {Home::kGradientOut},
     .released = {Home::kGradientOut},
     .towards = -1},
    // What it reads is what it frees: any home.
    {.op = Op::kFree, .name = "free", .stage = true, .any_stream = true, .evaluates = true},
    {.op = Op::kExchangeCopies,
     .name = "exchange-copies",
     .kind = OpKind::kCollective,
     .bucket = true,
     .stream = StreamKind::kCollective,
     .meets = Meets::kHoldersOfBucket},
    {.op = Op::kReduceGradient,
     .name = "reduce-gradient",
     .kind = OpKind::kCollective,
     .bucket = true,
     .stream = StreamKind::kCollective},
    {.op = Op::kAgree,
     .name = "agree",
     .kind = OpKind::kCollective,
     .stream = StreamKind::kCollective,
     .evaluates = true,
     .meets = Meets::kAllRanks},
    {.op = Op::kOptimizer, .name = "optimizer", .kind = OpKind::kStep},
    {.op = Op::kSnapshot, .name = "snapshot", .kind = OpKind::kStep},
    {.op = Op::kOverlapBegin, .name = "overlap-begin"},
    {.op = Op::kOverlapEnd, .name = "overlap-end"},
};

constexpr bool NumbersFollowEachOther() {
  for (size_t i = 0; i < std::size(kOps); ++i) {
    if (static_cast<size_t>(kOps[i].op) != i + 1) return false;
  }
  return true;
}
static_assert(NumbersFollowEachOther(), "the table is looked up by number");

constexpr OpInfo kNone = {.name = "unknown"};

}  // namespace

std::span<const OpInfo> AllOps() { return kOps; }

const OpInfo* FindOp(int number) {
  return number >= 1 && number <= static_cast<int>(std::size(kOps)) ? &kOps[number - 1] : nullptr;
}

const OpInfo* FindOp(std::string_view name) {
  for (const OpInfo& info : kOps) {
    if (name == info.name) return &info;
  }
  return nullptr;
}

const OpInfo& InfoOf(Op op) {
  const OpInfo* found = FindOp(static_cast<int>(op));
  return found == nullptr ? kNone : *found;
}

const char* OpName(Op op) { return InfoOf(op).name; }
bool IsCompute(Op op) { return InfoOf(op).kind == OpKind::kCompute; }
bool IsSend(Op op) { return InfoOf(op).kind == OpKind::kSend; }
bool IsReceive(Op op) { return InfoOf(op).kind == OpKind::kReceive; }
bool IsHandOff(Op op) { return InfoOf(op).kind == OpKind::kHandOff; }
bool IsCollective(Op op) { return InfoOf(op).kind == OpKind::kCollective; }
bool ComputesInputGradient(Op op) { return InfoOf(op).input_gradient; }
bool ComputesWeightGradient(Op op) { return InfoOf(op).weight_gradient; }

}  // namespace birkhoff
