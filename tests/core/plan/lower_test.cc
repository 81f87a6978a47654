// The passes, written a second time: a schedule becomes lines of words, step by step, and a compiled
// program without its frees says the same lines.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/compile.h"
#include "core/plan/cost_model.h"
#include "core/plan/memory.h"
#include "core/plan/ops.h"
#include "core/plan/schedule.h"
#include "core/plan/tables.h"
#include "core/spec/resolve.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

// "backward-input 3:2 7-9 on 4", "exchange-copies #1"; what has no micro-batch stands alone.
std::string Line(const Plan& plan, const Instruction& i) {
  std::string line = OpName(i.op);
  if (i.stage >= 0) absl::StrAppend(&line, " ", i.stage, ":", i.microbatch);
  if (!(i.segment.units == UnitRange{})) {
    absl::StrAppend(&line, " ", i.segment.units.first, "-", i.segment.units.last);
  }
  if (i.channel >= 0) {
    const Channel& channel = plan.channels[i.channel];
    absl::StrAppend(&line, " ", channel.source, ">", channel.destination,
                    channel.kind == ChannelKind::kGradient ? " gradient" : " activation");
  }
  if (i.bucket >= 0) absl::StrAppend(&line, " #", i.bucket);
  return line;
}

std::vector<std::string> LinesOf(const Plan& plan, const std::vector<Instruction>& program) {
  std::vector<std::string> lines;
  for (const Instruction& i : program) {
    if (i.op != Op::kFree) lines.push_back(Line(plan, i));
  }
  return lines;
}

class Expected {
 public:
  Expected(const Plan& plan, const Schedule& schedule, int rank)
      : plan_(plan), schedule_(schedule), rank_(rank), last_gradient_(plan.stages.size()) {}

  std::vector<std::string> Lines(bool evaluates) {
    for (const ScheduledOp& op : schedule_.ranks[rank_]) {
      const std::string cell = absl::StrCat(" ", op.stage, ":", op.microbatch);
      switch (op.op) {
        case Op::kForward:
          lines_.push_back("load" + cell);
          if (op.stage > 0) Message(op, op.stage - 1, "receive", "", "activation");
          lines_.push_back("forward" + cell + Units(Whole(op.stage)));
          if (op.stage + 1 < schedule_.NumStages()) {
            Message(op, op.stage + 1, "send", "hand-off", "activation");
          }
          break;
        case Op::kBackward:
          // Split where another rank waits for the gradient.
          if (op.stage > 0 && schedule_.RankOf(op.stage - 1, op.microbatch) != rank_) {
            Backward(op, "backward-input");
            Weights(op);
          } else {
            Backward(op, "backward");
          }
          break;
        case Op::kBackwardInput:
          Backward(op, "backward-input");
          break;
        case Op::kBackwardWeight:
          Weights(op);
          break;
        default:
          lines_.push_back(OpName(op.op));
      }
    }
    if (!evaluates) Sums();
    lines_.push_back("agree");
    if (!evaluates) lines_.insert(lines_.end(), {"optimizer", "snapshot"});
    return lines_;
  }

 private:
  UnitRange Whole(int stage) const { return plan_.stages[stage].units; }
  static std::string Units(UnitRange units) {
    return absl::StrCat(" ", units.first, "-", units.last);
  }

  // With the rank of the stage `other`; nothing is received from this rank itself.
  void Message(const ScheduledOp& op, int other, const char* verb, const char* local,
               const char* kind) {
    const int peer = schedule_.RankOf(other, op.microbatch);
    const std::string cell = absl::StrCat(" ", op.stage, ":", op.microbatch);
    if (peer == rank_) {
      if (*local != 0) lines_.push_back(absl::StrCat(local, "-", kind, cell));
      return;
    }
    const bool sends = std::string(verb) == "send";
    lines_.push_back(absl::StrCat(verb, "-", kind, cell, " ", sends ? rank_ : peer, ">",
                                  sends ? peer : rank_, " ", kind));
  }

  // Sub-layer units in runs of the block length, embedding and head with their neighbours.
  void Backward(const ScheduledOp& op, const char* name) {
    const UnitRange whole = Whole(op.stage);
    const int num_units = plan_.stages.back().units.last;
    const int first = std::max(whole.first, 1), last = std::min(whole.last, num_units - 1);
    std::vector<UnitRange> blocks;
    if (plan_.recompute_block > 0) {
      for (int unit = first; unit < last; unit += plan_.recompute_block) {
        blocks.push_back({unit, std::min(unit + plan_.recompute_block, last)});
      }
    }
    const size_t pieces = std::max<size_t>(1, blocks.size());
    const std::string cell = absl::StrCat(" ", op.stage, ":", op.microbatch);
    for (size_t piece = pieces; piece-- > 0;) {
      UnitRange units = whole;
      if (!blocks.empty()) {
        lines_.push_back("recompute" + cell + Units(blocks[piece]));
        if (piece > 0) units.first = blocks[piece].first;
        if (piece + 1 < pieces) units.last = blocks[piece].last;
      }
      const bool top = piece + 1 == pieces;
      if (top && op.stage + 1 < schedule_.NumStages()) {
        Message(op, op.stage + 1, "receive", "", "gradient");
      }
      lines_.push_back(name + cell + Units(units));
      if (std::string(name) == "backward") last_gradient_[op.stage] = lines_.size();
    }
    if (op.stage > 0) Message(op, op.stage - 1, "send", "hand-off", "gradient");
  }

  void Weights(const ScheduledOp& op) {
    lines_.push_back(
        absl::StrCat("backward-weight ", op.stage, ":", op.microbatch, Units(Whole(op.stage))));
    last_gradient_[op.stage] = lines_.size();
  }

  // Each bucket behind its last gradient and the buckets before it.
  void Sums() {
    size_t at = 0, added = 0;
    for (size_t b = 0; b < plan_.buckets.size(); ++b) {
      const auto& holders = plan_.buckets[b].ranks;
      if (std::find(holders.begin(), holders.end(), rank_) == holders.end()) continue;
      for (const int stage : plan_.parameters[plan_.buckets[b].parameters[0]].stages) {
        at = std::max(at, last_gradient_[stage]);
      }
      std::vector<std::string> sums;
      if (holders.size() > 1) sums.push_back(absl::StrCat("exchange-copies #", b));
      if (plan_.num_replicas > 1) sums.push_back(absl::StrCat("reduce-gradient #", b));
      lines_.insert(lines_.begin() + static_cast<int>(at + added), sums.begin(), sums.end());
      added += sums.size();
    }
  }

  const Plan& plan_;
  const Schedule& schedule_;
  const int rank_;
  std::vector<size_t> last_gradient_;  // by stage: lines up to its last weight gradient
  std::vector<std::string> lines_;
};

void ExpectLines(const SmallJob& job) {
  const Plan plan = CompileOrDie(SmallSpec(job));
  const Schedule train = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
  const Schedule evaluate =
      MakeForwardSchedule(job.schedule, job.ranks, plan.num_evaluation_microbatches);
  for (int rank = 0; rank < job.ranks; ++rank) {
    SCOPED_TRACE(absl::StrCat(ScheduleName(job.schedule), " rank ", rank, " of ", job.ranks,
                              ", recompute ", job.recompute));
    ASSERT_EQ(LinesOf(plan, plan.ranks[rank].train), Expected(plan, train, rank).Lines(false));
    ASSERT_EQ(LinesOf(plan, plan.ranks[rank].evaluate), Expected(plan, evaluate, rank).Lines(true));
  }
}

TEST(Passes, SayWhatTheScheduleSaysStepByStep) {
  for (SmallJob job : SmallGrid(5)) {
    for (const int recompute : {0, 1, 3}) {
      job.recompute = recompute;
      job.layers = job.ranks + 1;
      ExpectLines(job);
    }
  }
}

TEST(Passes, SumWhatIsHeldTwice) {
  for (SmallJob job : SmallGrid(4)) {
    for (const int replicas : {1, 2}) {
      for (const bool tied : {false, true}) {
        job.replicas = replicas;
        job.tied = tied;
        ExpectLines(job);
      }
    }
  }
}

// ---- Estimated times: what each instruction is said to take.

// Four layers whose measured times are digits: a forward takes 1 in the first sub-layer, 2 in other
// attention, 3 in feed-forward, 4 in the head; an input gradient ten times that, a weight gradient a
// hundred times, a recompute a thousand times.
ClusterSpec TimedByDigits(const JobSpec& spec) {
  ClusterSpec cluster;
  cluster.link_bytes_per_second = 1e9;
  cluster.link_latency_seconds = 2e-6;
  cluster.card.emplace().by_shape[ShapeKey(spec, {})] = {.first = {1, 10, 100, 1000},
                                                         .attention = {2, 20, 200, 2000},
                                                         .feed_forward = {3, 30, 300, 3000},
                                                         .head = {4, 40, 0, 0},
                                                         .norm_ns = 0.5,
                                                         .update_ns = 2.0};
  return cluster;
}

int64_t DigitsOf(UnitRange units, int64_t pass) {
  int64_t total = 0;
  for (int unit = units.first; unit < units.last; ++unit) {
    const int kind = unit == 0 ? 0 : (unit == 9 ? 4 : (unit == 1 ? 1 : (unit % 2 == 1 ? 2 : 3)));
    if (unit == 9 && pass > 10) continue;  // the head has no weight gradient
    total += kind * pass;
  }
  return total;
}

// What an instruction of a rank with `elements` padded master elements takes.
int64_t ExpectedNs(const Plan& plan, const CostModel& costs, int64_t elements,
                   const Instruction& i) {
  const UnitRange units = i.segment.units;
  switch (i.op) {
    case Op::kForward:
      return DigitsOf(units, 1);
    case Op::kBackwardInput:
      return DigitsOf(units, 10);
    case Op::kBackwardWeight:
      return DigitsOf(units, 100);
    case Op::kBackward:
      return DigitsOf(units, 10) + DigitsOf(units, 100);
    case Op::kRecompute:
      return DigitsOf(units, 1000);
    case Op::kLoad:
      return costs.CopyNs(3 * 64);
    case Op::kHandOffActivation:
    case Op::kHandOffGradient:
      return costs.CopyNs(256 + 64);
    case Op::kSendActivation:
    case Op::kReceiveActivation:
    case Op::kSendGradient:
    case Op::kReceiveGradient:
      return 2000 + 256 + 64;
    case Op::kReduceGradient: {
      // 3 replicas: 4 steps of a third of the bytes each.
      double bytes = 0;
      for (const int index : plan.buckets[i.bucket].parameters) {
        bytes += 4.0 * static_cast<double>(plan.parameters[index].spec.NumElements());
      }
      return std::llround(4 * 2000 + 4.0 / 3.0 * bytes);
    }
    case Op::kAgree:  // 6 workers: 10 steps of a sixth of a byte; and the norm
      return (elements + 1) / 2 + std::llround(10 * 2000 + 10.0 / 6.0);
    case Op::kOptimizer:
      return 2 * elements;
    default:
      return 0;
  }
}

TEST(EstimatedTimes, AreThoseOfTheirUnitsAndMessages) {
  const JobSpec spec = SmallSpec({.schedule = ScheduleKind::kDualPipeV,
                                  .microbatches = 4,
                                  .layers = 4,
                                  .recompute = 2,
                                  .replicas = 3});
  const ClusterSpec cluster = TimedByDigits(spec);
  const auto plan = CompilePlan(spec, cluster);
  ASSERT_TRUE(plan.ok()) << plan.status();
  const CostModel costs(spec, cluster);
  for (int rank = 0; rank < plan->num_ranks; ++rank) {
    int64_t elements = 0;
    for (const PlannedParameter& parameter : plan->parameters) {
      if (!HoldsParameter(parameter, rank)) continue;
      elements += PaddedMasterElements(parameter.spec.NumElements());
    }
    for (const Instruction& i : plan->ranks[rank].train) {
      EXPECT_EQ(i.estimated_ns, ExpectedNs(*plan, costs, elements, i))
          << "rank " << rank << " " << Line(*plan, i);
    }
    // An evaluation has no norm.
    EXPECT_EQ(plan->ranks[rank].evaluate.back().estimated_ns, 10 * 2000 + 2);
  }
}

}  // namespace
}  // namespace birkhoff
