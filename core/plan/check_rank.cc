// One pass: form, order, memory, then progress, which is a small state for each (stage,
// micro-batch), each bucket and the end of the step.  ProgramOrder says what must be over before.
#include "core/plan/check_rank.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/plan/check_form.h"
#include "core/plan/check_memory.h"
#include "core/plan/operands.h"
#include "core/plan/order.h"
#include "core/plan/refusal.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

constexpr int kNone = -1;

// How far a (stage, micro-batch) has come.
struct Cell {
  bool forward = false;
  int input_down_to = 0;   // units above have their input gradient
  int weight_down_to = 0;  // units above have their weight gradient
};

class RankCheck {
 public:
  RankCheck(const Plan& plan, const std::vector<StageLayout>& layouts, RankProgram which,
            std::vector<ChannelTraffic>* traffic, std::vector<int>* most_stored)
      : plan_(plan),
        layouts_(layouts),
        which_(which),
        rank_(plan.ranks[which.rank]),
        program_(which.evaluates ? rank_.evaluate : rank_.train),
        num_microbatches_(which.evaluates ? plan.num_evaluation_microbatches
                                          : plan.num_microbatches),
        traffic_(*traffic),
        most_stored_(*most_stored),
        order_(program_),
        memory_(plan, layouts, which, order_),
        summed_(plan.buckets.size()) {}

  absl::Status Run() {
    if (which_.evaluates && num_microbatches_ == 0) {
      return program_.empty() ? absl::OkStatus() : Refuse(0, "this plan evaluates nothing");
    }
    Prepare();
    for (int i = 0; i < static_cast<int>(program_.size()); ++i) {
      if (std::string reason = FormProblem(plan_, which_, i); !reason.empty()) {
        return Refuse(i, reason);
      }
      const Instruction& instruction = program_[i];
      order_.Append(instruction.stream, instruction.channel, instruction.waits);
      if (std::string reason = memory_.Follow(i); !reason.empty()) return Refuse(i, reason);
      RETURN_IF_ERROR(CheckProgress(i));
    }
    return CheckEnd();
  }

 private:
  absl::Status Refuse(int index, const std::string& reason) const {
    return Refusal(plan_, {which_.rank, which_.evaluates, index}, reason);
  }
  std::string Text(int index) const {
    return absl::StrCat("[", index, "] ", InstructionToText(program_[index]));
  }

  void Prepare() {
    local_stage_.assign(plan_.stages.size(), kNone);
    for (size_t i = 0; i < rank_.stages.size(); ++i) {
      local_stage_[rank_.stages[i]] = static_cast<int>(i);
    }
    cells_.assign(rank_.stages.size() * num_microbatches_, {});
    unfinished_.assign(plan_.stages.size(), 0);
    stored_.assign(plan_.stages.size(), 0);
    last_weight_.assign(plan_.stages.size(), kNone);
    for (const int stage : rank_.stages) {
      for (int m = 0; m < num_microbatches_; ++m) {
        const int top = plan_.stages[stage].units.last;
        CellOf(stage, m) = {.forward = false, .input_down_to = top, .weight_down_to = top};
        unfinished_[stage] += plan_.RankOf(stage, m, num_microbatches_) == which_.rank;
      }
    }
  }

  Cell& CellOf(int stage, int microbatch) {
    return cells_[local_stage_[stage] * size_t(num_microbatches_) + microbatch];
  }

  // ---- Progress: what has been computed, sent and summed.

  absl::Status CheckProgress(int i) {
    const Instruction& instruction = program_[i];
    switch (instruction.op) {
      case Op::kForward:
        return CheckForward(i);
      case Op::kRecompute:
        return CheckRecompute(i);
      case Op::kBackward:
      case Op::kBackwardInput:
      case Op::kBackwardWeight:
        return CheckBackward(i);
      case Op::kOverlapBegin:
      case Op::kOverlapEnd:
        return CheckMarker(i);
      case Op::kExchangeCopies:
      case Op::kReduceGradient:
        return CheckSum(i);
      case Op::kAgree:
        return CheckAgree(i);
      case Op::kOptimizer:
        return CheckAfterAgree(i, &optimizer_, agree_, "agree");
      case Op::kSnapshot:
        return CheckAfterAgree(i, &snapshot_, optimizer_, "optimizer");
      default:
        NoteMessage(i);
        return absl::OkStatus();
    }
  }

  void NoteMessage(int i) {
    const Instruction& instruction = program_[i];
    const PlannedMessage message{which_.rank, i, instruction.stage, instruction.microbatch};
    if (IsSend(instruction.op)) traffic_[instruction.channel].sends.push_back(message);
    if (IsReceive(instruction.op)) traffic_[instruction.channel].receives.push_back(message);
  }

  void NoteCompute(int i) {
    last_compute_ = i;
    if (open_marker_ == kNone || program_[i].op == Op::kRecompute) return;
    (program_[i].op == Op::kForward ? marks_forward_ : marks_backward_) = true;
  }

  absl::Status CheckForward(int i) {
    const Instruction& instruction = program_[i];
    Cell& cell = CellOf(instruction.stage, instruction.microbatch);
    if (cell.forward) return Refuse(i, "this forward has run already");
    if (!(instruction.segment.units == plan_.stages[instruction.stage].units)) {
      return Refuse(i, "a forward covers its whole stage");
    }
    cell.forward = true;
    int& stored = stored_[instruction.stage];
    most_stored_[instruction.stage] = std::max(most_stored_[instruction.stage], ++stored);
    if (which_.evaluates) {
      --stored;
      --unfinished_[instruction.stage];
    }
    NoteCompute(i);
    return absl::OkStatus();
  }

  // It reads what its forward saved, so that has run.
  absl::Status CheckRecompute(int i) {
    const Instruction& instruction = program_[i];
    const Cell& cell = CellOf(instruction.stage, instruction.microbatch);
    const StageLayout& layout = layouts_[instruction.stage];
    const auto& blocks = layout.recompute_blocks;
    const auto block = std::find(blocks.begin(), blocks.end(), instruction.segment.units);
    if (block == blocks.end()) return Refuse(i, "these units are no recompute block of the stage");
    const UnitRange segment = SegmentOfBlock(layout, static_cast<size_t>(block - blocks.begin()));
    if (cell.input_down_to != segment.last) {
      return Refuse(i, absl::StrCat("the backward pass stands at unit ", cell.input_down_to,
                                    ", this block ends at ", segment.last));
    }
    NoteCompute(i);
    return absl::OkStatus();
  }

  absl::Status CheckBackward(int i) {
    const Instruction& instruction = program_[i];
    const UnitRange segment = instruction.segment.units;
    const UnitRange stage = plan_.stages[instruction.stage].units;
    Cell& cell = CellOf(instruction.stage, instruction.microbatch);
    if (!cell.forward) return Refuse(i, "its forward has not run");
    if (segment.first >= segment.last || segment.first < stage.first) {
      return Refuse(i, "its units are not of its stage");
    }
    if (ComputesInputGradient(instruction.op)) RETURN_IF_ERROR(CheckInputGradient(i, &cell));
    if (ComputesWeightGradient(instruction.op)) RETURN_IF_ERROR(CheckWeightGradient(i, &cell));
    if (instruction.op == Op::kBackwardInput && cell.weight_down_to < stage.last) {
      return Refuse(i, "a stage's backward is either whole or split");
    }
    NoteCompute(i);
    return absl::OkStatus();
  }

  absl::Status CheckInputGradient(int i, Cell* cell) {
    const Instruction& instruction = program_[i];
    const UnitRange segment = instruction.segment.units;
    const UnitRange stage = plan_.stages[instruction.stage].units;
    if (segment.last != cell->input_down_to) {
      return Refuse(i,
                    absl::StrCat("the input gradient has come down to unit ", cell->input_down_to,
                                 ", this segment starts at ", segment.last));
    }
    const StageLayout& layout = layouts_[instruction.stage];
    const bool known = layout.recompute_blocks.empty()
                           ? segment == stage
                           : !(BlockOfSegment(layout, segment) == UnitRange{});
    if (!known) return Refuse(i, "its units are neither the stage nor one of its blocks");
    cell->input_down_to = segment.first;
    if (segment.first == stage.first) --stored_[instruction.stage];
    return absl::OkStatus();
  }

  absl::Status CheckWeightGradient(int i, Cell* cell) {
    const Instruction& instruction = program_[i];
    const UnitRange segment = instruction.segment.units;
    if (segment.last != cell->weight_down_to || segment.first < cell->input_down_to) {
      return Refuse(i,
                    absl::StrCat("the weight gradient has come down to unit ", cell->weight_down_to,
                                 " and the input gradient to unit ", cell->input_down_to));
    }
    cell->weight_down_to = segment.first;
    last_weight_[instruction.stage] = i;
    if (segment.first == plan_.stages[instruction.stage].units.first) {
      --unfinished_[instruction.stage];
    }
    return absl::OkStatus();
  }

  absl::Status CheckMarker(int i) {
    const bool begins = program_[i].op == Op::kOverlapBegin;
    if (begins == (open_marker_ != kNone)) {
      return Refuse(i, begins ? "opens a pair inside a pair" : "closes a pair that is not open");
    }
    if (!begins && !(marks_forward_ && marks_backward_)) {
      return Refuse(i, "a pair holds a forward and a backward");
    }
    open_marker_ = begins ? i : kNone;
    marks_forward_ = marks_backward_ = false;
    return absl::OkStatus();
  }

  // What has become of a bucket on this rank.
  struct Summed {
    bool copies = false;    // exchange-copies
    bool replicas = false;  // reduce-gradient
  };

  absl::Status CheckSum(int i) {
    const Instruction& instruction = program_[i];
    const Bucket& bucket = plan_.buckets[instruction.bucket];
    if (std::find(bucket.ranks.begin(), bucket.ranks.end(), which_.rank) == bucket.ranks.end()) {
      return Refuse(i, "this rank does not hold the bucket");
    }
    Summed& summed = summed_[instruction.bucket];
    const bool exchanges = instruction.op == Op::kExchangeCopies;
    if (exchanges ? bucket.ranks.size() < 2 : plan_.num_replicas < 2) {
      return Refuse(i, "there is nothing to sum with");
    }
    if (instruction.bucket < last_bucket_) {
      return Refuse(i, absl::StrCat("comes after bucket ", last_bucket_,
                                    "; buckets are summed in ascending order"));
    }
    last_bucket_ = instruction.bucket;
    bool& done = exchanges ? summed.copies : summed.replicas;
    if (done) return Refuse(i, "the bucket has been summed already");
    if (!exchanges && bucket.ranks.size() > 1 && !summed.copies) {
      return Refuse(i, "the copies have not been exchanged");
    }
    done = true;
    return CheckGradientsComplete(i, bucket);
  }

  absl::Status CheckGradientsComplete(int i, const Bucket& bucket) {
    for (const int index : bucket.parameters) {
      for (const int stage : plan_.parameters[index].stages) {
        if (local_stage_[stage] == kNone) continue;
        if (unfinished_[stage] > 0) {
          return Refuse(i, absl::StrCat("stage ", stage, " still owes the weight gradients of ",
                                        unfinished_[stage], " micro-batches"));
        }
        if (last_weight_[stage] != kNone && !order_.Before(last_weight_[stage], i)) {
          return Refuse(i, absl::StrCat("does not wait for ", Text(last_weight_[stage])));
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckAgree(int i) {
    if (agree_ != kNone) return Refuse(i, "agrees twice");
    for (const int stage : rank_.stages) {
      if (unfinished_[stage] == 0) continue;
      return Refuse(i, absl::StrCat("stage ", stage, " has ", unfinished_[stage],
                                    " unfinished micro-batches"));
    }
    if (last_compute_ != kNone && !order_.Before(last_compute_, i)) {
      return Refuse(i, absl::StrCat("does not wait for ", Text(last_compute_)));
    }
    if (!which_.evaluates) RETURN_IF_ERROR(CheckAllSummed(i));
    agree_ = i;
    return absl::OkStatus();
  }

  // All sums are of agree's own stream, so they end before it.
  absl::Status CheckAllSummed(int i) {
    for (size_t b = 0; b < plan_.buckets.size(); ++b) {
      const std::vector<int>& ranks = plan_.buckets[b].ranks;
      if (std::find(ranks.begin(), ranks.end(), which_.rank) == ranks.end()) continue;
      if (ranks.size() > 1 && !summed_[b].copies) {
        return Refuse(i, absl::StrCat("the copies of bucket ", b, " have not been exchanged"));
      }
      if (plan_.num_replicas > 1 && !summed_[b].replicas) {
        return Refuse(i, absl::StrCat("bucket ", b, " has not been reduced"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckAfterAgree(int i, int* own, int before, const char* name) {
    if (*own != kNone) return Refuse(i, "runs twice");
    if (before == kNone) return Refuse(i, absl::StrCat("comes before ", name));
    if (!order_.Before(before, i)) return Refuse(i, absl::StrCat("does not wait for ", name));
    *own = i;
    return absl::OkStatus();
  }

  absl::Status CheckEnd() {
    const int end = static_cast<int>(program_.size());
    if (open_marker_ != kNone) return Refuse(open_marker_, "the pair is never closed");
    if (const auto leak = memory_.FindLeak(); leak.has_value()) {
      return Refuse(leak->index, leak->reason);
    }
    if (agree_ == kNone) return Refuse(end, "agree is missing");
    if (which_.evaluates) return absl::OkStatus();
    if (optimizer_ == kNone) return Refuse(end, "optimizer is missing");
    if (snapshot_ == kNone) return Refuse(end, "snapshot is missing");
    return absl::OkStatus();
  }

  const Plan& plan_;
  const std::vector<StageLayout>& layouts_;
  const RankProgram which_;
  const RankPlan& rank_;
  const std::vector<Instruction>& program_;
  const int num_microbatches_;
  std::vector<ChannelTraffic>& traffic_;
  std::vector<int>& most_stored_;

  ProgramOrder order_;
  MemoryFollower memory_;
  std::vector<int> local_stage_;  // by stage: position in rank_.stages
  std::vector<Cell> cells_;       // [local stage][micro-batch]
  std::vector<int> unfinished_;   // by stage: micro-batches of this rank not done
  std::vector<int> stored_;       // by stage: between forward and backward
  std::vector<int> last_weight_;  // by stage: instruction
  std::vector<Summed> summed_;    // by bucket
  int last_bucket_ = kNone, last_compute_ = kNone;
  int agree_ = kNone, optimizer_ = kNone, snapshot_ = kNone;
  int open_marker_ = kNone;
  bool marks_forward_ = false, marks_backward_ = false;
};

}  // namespace

absl::Status CheckRankProgram(const Plan& plan, const std::vector<StageLayout>& layouts,
                              RankProgram which, std::vector<ChannelTraffic>* traffic,
                              std::vector<int>* most_stored) {
  return RankCheck(plan, layouts, which, traffic, most_stored).Run();
}

}  // namespace birkhoff
