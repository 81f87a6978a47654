#include "core/plan/instruction.h"

namespace birkhoff {

const char* OpName(Op op) {
  switch (op) {
    case Op::kLoad:
      return "load";
    case Op::kForward:
      return "forward";
    case Op::kBackwardInput:
      return "backward-input";
    case Op::kBackwardWeight:
      return "backward-weight";
    case Op::kBackward:
      return "backward";
    case Op::kRecompute:
      return "recompute";
    case Op::kSendActivation:
      return "send-activation";
    case Op::kReceiveActivation:
      return "receive-activation";
    case Op::kSendGradient:
      return "send-gradient";
    case Op::kReceiveGradient:
      return "receive-gradient";
    case Op::kHandOffActivation:
      return "hand-off-activation";
    case Op::kHandOffGradient:
      return "hand-off-gradient";
    case Op::kFree:
      return "free";
    case Op::kExchangeCopies:
      return "exchange-copies";
    case Op::kReduceGradient:
      return "reduce-gradient";
    case Op::kAgree:
      return "agree";
    case Op::kOptimizer:
      return "optimizer";
    case Op::kSnapshot:
      return "snapshot";
    case Op::kOverlapBegin:
      return "overlap-begin";
    case Op::kOverlapEnd:
      return "overlap-end";
  }
  return "unknown";
}

const char* StreamName(StreamKind stream) {
  switch (stream) {
    case StreamKind::kCompute:
      return "compute";
    case StreamKind::kComputeHigh:
      return "compute-high";
    case StreamKind::kChannel:
      return "channel";
    case StreamKind::kCollective:
      return "collective";
    case StreamKind::kCopy:
      return "copy";
  }
  return "unknown";
}

}  // namespace birkhoff
