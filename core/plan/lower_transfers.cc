// AddTransfers, in one walk.  Who holds the neighbour stage decides between message and hand-off; a
// backward in segments receives at its top and sends at its bottom.
#include <utility>

#include "core/base/check.h"
#include "core/plan/lower.h"
#include "core/plan/operands.h"

namespace birkhoff {
namespace {

class TransferPass {
 public:
  TransferPass(const LowerContext& context, const Schedule& schedule, int rank)
      : context_(context), schedule_(schedule), rank_(rank) {}

  Program Run(Program program) {
    program_.reserve(4 * program.size());
    for (Instruction& instruction : program) {
      const int stage = instruction.stage, microbatch = instruction.microbatch;
      const UnitRange units = instruction.segment.units;
      const Op op = instruction.op;
      if (op == Op::kForward) {
        AddLoad(stage, microbatch);
        if (stage > 0) AddReceive(Op::kReceiveActivation, stage, stage - 1, microbatch);
      }
      const bool top = stage >= 0 && units.last == context_.plan.stages[stage].units.last;
      const bool bottom = stage >= 0 && units.first == context_.plan.stages[stage].units.first;
      if (ComputesInputGradient(op) && top && stage + 1 < schedule_.NumStages()) {
        AddReceive(Op::kReceiveGradient, stage, stage + 1, microbatch);
      }
      program_.push_back(std::move(instruction));
      if (op == Op::kForward && stage + 1 < schedule_.NumStages()) {
        AddOutward(Op::kSendActivation, Op::kHandOffActivation, stage, stage + 1, microbatch);
      }
      if (ComputesInputGradient(op) && bottom && stage > 0) {
        AddOutward(Op::kSendGradient, Op::kHandOffGradient, stage, stage - 1, microbatch);
      }
    }
    return std::move(program_);
  }

 private:
  static Instruction Make(Op op, int stage, int microbatch, StreamKind stream) {
    Instruction instruction;
    instruction.op = op;
    instruction.stage = stage;
    instruction.microbatch = microbatch;
    instruction.stream = stream;
    return instruction;
  }

  void AddLoad(int stage, int microbatch) {
    Instruction load = Make(Op::kLoad, stage, microbatch, StreamKind::kCopy);
    load.estimated_ns = context_.costs.CopyNs(context_.layouts[stage].BytesOf(Home::kBatch));
    program_.push_back(std::move(load));
  }

  int FindChannel(int source, int destination, ChannelKind kind) const {
    const auto& channels = context_.plan.channels;
    for (size_t i = 0; i < channels.size(); ++i) {
      if (channels[i].source == source && channels[i].destination == destination &&
          channels[i].kind == kind) {
        return static_cast<int>(i);
      }
    }
    BIRKHOFF_CHECK(false, "a channel for every boundary between ranks");
    return -1;
  }

  void AddMessage(Op op, int stage, int microbatch, int source, int destination) {
    const bool activation = InfoOf(op).towards > 0;
    Instruction message = Make(op, stage, microbatch, StreamKind::kChannel);
    message.channel = FindChannel(source, destination,
                                  activation ? ChannelKind::kActivation : ChannelKind::kGradient);
    message.estimated_ns =
        context_.costs.TransferNs(context_.plan.channels[message.channel].message_bytes);
    program_.push_back(std::move(message));
  }

  // From the neighbour stage, unless this rank holds it: then a hand-off has come already.
  void AddReceive(Op op, int stage, int neighbour, int microbatch) {
    const int peer = schedule_.RankOf(neighbour, microbatch);
    if (peer != rank_) AddMessage(op, stage, microbatch, peer, rank_);
  }

  void AddOutward(Op send, Op hand_off, int stage, int neighbour, int microbatch) {
    const int peer = schedule_.RankOf(neighbour, microbatch);
    if (peer != rank_) return AddMessage(send, stage, microbatch, rank_, peer);
    Instruction copy = Make(hand_off, stage, microbatch, StreamKind::kCompute);
    const Home home = send == Op::kSendActivation ? Home::kOutput : Home::kGradientOut;
    copy.estimated_ns = context_.costs.CopyNs(context_.layouts[stage].BytesOf(home));
    program_.push_back(std::move(copy));
  }

  const LowerContext& context_;
  const Schedule& schedule_;
  const int rank_;
  Program program_;
};

}  // namespace

Program AddTransfers(const LowerContext& context, const Schedule& schedule, int rank,
                     Program program) {
  return TransferPass(context, schedule, rank).Run(std::move(program));
}

}  // namespace birkhoff
