// One instruction of a plan: the words that the executor, the checker and the simulator share.
//
// Text form, one line each (text.h):
//
//   17 backward-input stage=3 units=9:13 microbatch=2 stream=compute waits=11 reads=b4,b9 fills=b12
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/spec/footprint.h"

namespace birkhoff {

// Numbers are on the wire and in stored plans: never change one.
enum class Op {
  kLoad = 1,            // fills kBatch
  kForward = 2,         // batch, input -> saved, kept, output
  kBackwardInput = 3,   // saved, kept, input, gradient-in, recompute -> gradient-out, pending
  kBackwardWeight = 4,  // kept, pending -> parameter gradients
  kBackward = 5,        // both at once, without pending
  kRecompute = 6,       // input or stored X, saved -> recompute: X and norm outputs of a block
  kSendActivation = 7,
  kReceiveActivation = 8,
  kSendGradient = 9,
  kReceiveGradient = 10,
  kHandOffActivation = 11,  // same rank: output of stage s -> input of stage s + 1
  kHandOffGradient = 12,    // same rank: gradient-out of stage s + 1 -> gradient-in of stage s
  kFree = 13,               // the buffers in `reads` hold nothing any more
  kExchangeCopies = 14,     // sums a bucket's gradients over a replica's ranks that hold copies
  kReduceGradient = 15,     // sums a bucket's gradients over the data-parallel replicas
  kAgree = 16,              // loss, tokens, norm, non-finite count, gains: the same on all ranks
  kOptimizer = 17,          // clip, skip or step
  kSnapshot = 18,           // copies weights and optimizer state when a checkpoint is due
  kOverlapBegin = 19,       // the instructions up to the matching end may run beside each other
  kOverlapEnd = 20,
};
const char* OpName(Op op);  // "backward-input"; all else that an op is stands in ops.h

// Which part of a sub-layer an instruction covers.  Today kWhole alone; experts need the others.
enum class Phase { kWhole = 0, kAttention = 1, kDispatch = 2, kExperts = 3, kCombine = 4 };

struct Segment {
  UnitRange units;
  Phase phase = Phase::kWhole;
  friend bool operator==(const Segment&, const Segment&) = default;
};

// Ordered queues of a rank.  Instructions of one stream run in program order; between streams only
// `waits` order them.
enum class StreamKind { kCompute = 0, kComputeHigh = 1, kChannel = 2, kCollective = 3, kCopy = 4 };
// "compute" | "compute-high" | "channel" | "collective" | "copy"
const char* StreamName(StreamKind stream);

// `stage` is the stage whose buffer stands at this rank: a send names the stage that made the
// message, a receive the stage that will use it, a hand-off the stage that it reads from.
// `reads` and `fills` together hold every buffer that the instruction touches, at most one of each
// home; a rank's scratch stands in `fills` of every compute instruction that needs it.  A buffer
// that later segments of a backward pass advance in place (gradient-out, pending) is filled by the
// first segment and read by the others.  A load, a receive and a hand-off each fill one buffer.
struct Instruction {
  Op op = Op::kLoad;
  int stage = -1;       // -1 where it has no meaning: agree, optimizer, snapshot, marks, reductions
  int microbatch = -1;  // -1 likewise
  Segment segment;      // empty range where it has no meaning
  // Earlier indices, in the same program, of instructions on other streams that must have finished.
  std::vector<int> waits;
  std::vector<int> reads;  // indices into RankPlan::buffers
  std::vector<int> fills;
  int channel = -1;  // index into Plan::channels: sends, receives; each has a stream of its own
  int bucket = -1;   // index into Plan::buckets: exchange-copies, reduce-gradient
  StreamKind stream = StreamKind::kCompute;
  int64_t estimated_ns = 0;

  friend bool operator==(const Instruction&, const Instruction&) = default;
};

}  // namespace birkhoff
