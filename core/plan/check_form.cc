// One question after another, each of which may trust the answers before it.  Which fields there
// must be stands in the table of ops.h.
#include "core/plan/check_form.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/operands.h"

namespace birkhoff {
namespace {

bool InRange(int value, size_t size) { return value >= 0 && value < static_cast<int>(size); }

std::string WaitsProblem(const std::vector<Instruction>& program, int index) {
  const Instruction& instruction = program[index];
  for (size_t i = 0; i < instruction.waits.size(); ++i) {
    const int wait = instruction.waits[i];
    if (wait < 0 || wait >= index) {
      return absl::StrCat("waits for ", wait, "; needs an earlier instruction");
    }
    if (i > 0 && wait <= instruction.waits[i - 1]) return "its waits are not ascending";
    const Instruction& other = program[wait];
    if (other.stream == instruction.stream &&
        (other.stream != StreamKind::kChannel || other.channel == instruction.channel)) {
      return absl::StrCat("waits for ", wait, " of its own stream");
    }
  }
  return "";
}

std::string StreamProblem(const Plan& plan, const OpInfo& info, int rank,
                          const Instruction& instruction) {
  const int stream = static_cast<int>(instruction.stream);
  if (stream < 0 || stream > static_cast<int>(StreamKind::kCopy)) return "has no such stream";
  if (!info.any_stream && instruction.stream != info.stream) {
    return absl::StrCat("runs on the ", StreamName(instruction.stream), " stream; needs ",
                        StreamName(info.stream));
  }
  const bool has_channel = instruction.stream == StreamKind::kChannel;
  if (!has_channel) return instruction.channel == -1 ? "" : "needs no channel";
  if (!InRange(instruction.channel, plan.channels.size())) return "has no such channel";
  const Channel& channel = plan.channels[instruction.channel];
  if (channel.source != rank && channel.destination != rank) {
    return absl::StrCat("channel ", instruction.channel, " has no end at this rank");
  }
  return "";
}

std::string StageProblem(const Plan& plan, RankProgram which, const Instruction& instruction) {
  const int microbatches =
      which.evaluates ? plan.num_evaluation_microbatches : plan.num_microbatches;
  if (!InRange(instruction.stage, plan.stages.size())) return "has no such stage";
  if (!InRange(instruction.microbatch, static_cast<size_t>(microbatches))) {
    return absl::StrCat("has no such micro-batch; there are ", microbatches);
  }
  const int runner = plan.RankOf(instruction.stage, instruction.microbatch, microbatches);
  if (runner == which.rank) return "";
  return absl::StrCat("stage ", instruction.stage, " of micro-batch ", instruction.microbatch,
                      " runs on rank ", runner);
}

// A message goes between the ranks that run the two stages, on a channel of its kind.
std::string ChannelProblem(const Plan& plan, RankProgram which, const Instruction& instruction) {
  const OpInfo& info = InfoOf(instruction.op);
  const bool activation = info.towards > 0;
  const bool sends = info.kind == OpKind::kSend;
  const int peer_stage = instruction.stage + (sends ? info.towards : -info.towards);
  if (!InRange(peer_stage, plan.stages.size())) return "there is no stage beyond";
  const int microbatches =
      which.evaluates ? plan.num_evaluation_microbatches : plan.num_microbatches;
  const int peer = plan.RankOf(peer_stage, instruction.microbatch, microbatches);
  const Channel& channel = plan.channels[instruction.channel];
  Channel needed = channel;
  needed.source = sends ? which.rank : peer;
  needed.destination = sends ? peer : which.rank;
  needed.kind = activation ? ChannelKind::kActivation : ChannelKind::kGradient;
  if (channel == needed) return "";
  return absl::StrCat("channel ", instruction.channel, " goes from rank ", channel.source,
                      " to rank ", channel.destination, "; needs ",
                      activation ? "activations" : "gradients", " from rank ", needed.source,
                      " to rank ", needed.destination);
}

std::string HandOffProblem(const Plan& plan, RankProgram which, const Instruction& instruction) {
  const int target = HandOffTargetStage(instruction.op, instruction.stage);
  if (!InRange(target, plan.stages.size())) return "there is no stage beyond";
  Instruction at_target = instruction;
  at_target.stage = target;
  return StageProblem(plan, which, at_target);
}

}  // namespace

std::string FormProblem(const Plan& plan, RankProgram which, int index) {
  const RankPlan& rank = plan.ranks[which.rank];
  const std::vector<Instruction>& program = which.evaluates ? rank.evaluate : rank.train;
  const Instruction& instruction = program[index];
  if (FindOp(static_cast<int>(instruction.op)) == nullptr) return "is no instruction";
  const OpInfo& info = InfoOf(instruction.op);
  if (which.evaluates && !info.evaluates) return "has no place in an evaluate program";
  if (std::string problem = WaitsProblem(program, index); !problem.empty()) return problem;
  if (std::string problem = StreamProblem(plan, info, which.rank, instruction); !problem.empty()) {
    return problem;
  }
  if (instruction.estimated_ns < 0) return "takes a negative time";
  if (instruction.segment.phase != Phase::kWhole) return "covers a part of its sub-layers";
  if (!info.units && !(instruction.segment.units == UnitRange{})) return "needs no units";
  if (!info.bucket && instruction.bucket != -1) return "needs no bucket";
  if (info.bucket && !InRange(instruction.bucket, plan.buckets.size())) {
    return "has no such bucket";
  }
  for (const auto* buffers : {&instruction.reads, &instruction.fills}) {
    for (const int buffer : *buffers) {
      if (!InRange(buffer, rank.buffers.size())) return absl::StrCat("there is no b", buffer);
    }
  }
  if (!info.stage) {
    const bool bare = instruction.stage == -1 && instruction.microbatch == -1 &&
                      instruction.reads.empty() && instruction.fills.empty();
    return bare ? "" : "needs no stage, micro-batch or buffer";
  }
  if (std::string problem = StageProblem(plan, which, instruction); !problem.empty()) {
    return problem;
  }
  if (info.channel) return ChannelProblem(plan, which, instruction);
  return IsHandOff(instruction.op) ? HandOffProblem(plan, which, instruction) : "";
}

}  // namespace birkhoff
