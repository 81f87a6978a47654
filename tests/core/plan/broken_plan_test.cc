// Broken plans, one kind each: all are refused, with the instruction and the reason named.
#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/operands.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_breaks.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST_P(BrokenPlanTest, IsRefusedByName) {
  const Break& broken = GetParam();
  const JobSpec spec = SmallSpec(broken.job);
  Plan plan = CompileOrDie(spec);
  ASSERT_TRUE(CheckPlan(plan, spec).ok());
  broken.edit(plan);
  const absl::Status status = CheckPlan(plan, spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(StartsWith(broken.place), HasSubstr(broken.reason)));
}

const Break kProgramBreaks[] = {
    {"ForwardMissing", TwoRanks(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kForward); },
     "rank 0 train[1] send-activation stage=0", "reads b"},
    {"ForwardTwice", TwoRanks(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kForward)); },
     "rank 0 train[2] forward stage=0 units=0:3 microbatch=0", "still holds saved of stage 0"},
    {"BackwardMissing", TwoRanks(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kBackward); },
     "rank 0 train[", "holds nothing"},
    {"WeightGradientMissing", TwoRanks(),
     [](Plan& plan) { DropFirst(Train(plan, 1), Op::kBackwardWeight); }, "rank 1 train[",
     "unfinished micro-batches"},
    {"WeightBeforeInput", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       const int input = FindOp(program, Op::kBackwardInput);
       std::swap(program[input], program[FindOp(program, Op::kBackwardWeight)]);
     },
     "rank 1 train[3] backward-weight stage=1", "reads b"},
    {"SendMissing", TwoRanks(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kSendActivation); },
     "rank 1 train[1] receive-activation", "meets another message: rank 0"},
    {"LastSendMissing",
     {.microbatches = 1},
     [](Plan& plan) { DropFirst(Train(plan, 0), Op::kSendActivation); },
     "rank 1 train[1] receive-activation",
     "nobody sends message 0 of channel 0"},
    {"ReceiveMissing", TwoRanks(),
     [](Plan& plan) { DropFirst(Train(plan, 1), Op::kReceiveActivation); },
     "rank 1 train[1] forward stage=1", "which holds nothing, needs input of stage 1"},
    {"MessagesSwapped", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int first = FindOp(program, Op::kSendActivation);
       const int second = FindOp(program, Op::kSendActivation, first + 1);
       std::swap(program[first].microbatch, program[second].microbatch);
       std::swap(program[first].reads, program[second].reads);
     },
     "rank 0 train[2] send-activation stage=0 microbatch=1", "holds nothing"},
    {"SendOnTheWrongChannel", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindOp(program, Op::kSendActivation)].channel = 1;
     },
     "rank 0 train[2] send-activation",
     "channel 1 goes from rank 1 to rank 0; needs activations from rank 0 to rank 1"},
    {"RaceOnALoad", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindOp(program, Op::kForward)].waits.clear();
     },
     "rank 0 train[1] forward", "touches b0 without waiting for [0] load"},
    {"RaceOnASend", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindOp(program, Op::kSendActivation)].waits.clear();
     },
     "rank 0 train[2] send-activation", "without waiting for [1] forward"},
    {"WaitsForLater", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].waits = {5}; },
     "rank 0 train[1] forward", "waits for 5; needs an earlier instruction"},
    {"WaitsForItsOwnStream", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       program[FindOp(program, Op::kBackwardInput)].waits = {2};
     },
     "rank 1 train[3] backward-input", "waits for 2 of its own stream"},
    {"WrongBuffer", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[FindOp(Train(plan, 0), Op::kBackward)].reads[1] = 4; },
     "rank 0 train[", "which holds saved of stage 0 micro-batch 1, needs saved of stage 0"},
    {"NoSuchBuffer", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].reads[0] = 99; },
     "rank 0 train[1] forward", "there is no b99"},
    {"BufferLeftOut", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].fills.pop_back(); },
     "rank 0 train[1] forward", "needs saved, kept, output, scratch"},
    {"BufferNamedTwice", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[1].reads.push_back(Train(plan, 0)[1].reads[0]); },
     "rank 0 train[1] forward", "names b0 twice"},
    {"FreeMissing", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       Drop(program, FindOp(program, Op::kFree, FindOp(program, Op::kAgree) - 1));
     },
     "rank 1 train[", "is never freed"},
    {"FreedTwice", TwoRanks(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kFree)); },
     "rank 0 train[4] free", "which holds nothing"},
    {"FreedTooEarly", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       const int input = FindOp(program, Op::kBackwardInput);
       std::swap(program[input], program[input + 1]);
     },
     "rank 1 train[4] backward-input", "which holds nothing"},
    {"RecomputeMissing", Recomputing(),
     [](Plan& plan) { DropFirst(Train(plan, 0), Op::kRecompute); }, "rank 0 train[",
     "which holds nothing, needs recompute of stage 0"},
    {"RecomputeOfTheWrongBlock",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindOp(program, Op::kRecompute)].segment.units = {1, 3};
     },
     "rank 0 train[2] recompute",
     "the backward pass stands at unit 6, this block ends at 3"},
    {"SegmentsOutOfOrder",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int top = FindOp(program, Op::kBackward);
       const int bottom = FindOp(program, Op::kBackward, top + 1);
       std::swap(program[top].segment, program[bottom].segment);
     },
     "rank 0 train[3] backward",
     "reads"},
    {"PairNeverClosed", Vee(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kOverlapEnd); },
     "rank 0 train[", "opens a pair inside a pair"},
    {"PairNeverOpened", Vee(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kOverlapBegin); },
     "rank 0 train[", "closes a pair that is not open"},
    {"HandOffMissing", Vee(), [](Plan& plan) { DropFirst(Train(plan, 1), Op::kHandOffActivation); },
     "rank 1 train[", "which holds nothing, needs input of stage 2"},
    {"ReducedBeforeTheLastGradient", Exchanging(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int exchange = FindOp(program, Op::kExchangeCopies);
       Instruction early = program[exchange];
       early.waits.clear();
       program.insert(program.begin(), early);
       for (size_t i = 1; i < program.size(); ++i) {
         for (int& wait : program[i].waits) ++wait;
       }
     },
     "rank 0 train[0] exchange-copies", "still owes the weight gradients of"},
    {"ExchangeDoesNotWait", Exchanging(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindOp(program, Op::kExchangeCopies)].waits.clear();
     },
     "rank 0 train[", "does not wait for"},
    {"ReduceMissing", Exchanging(),
     [](Plan& plan) { DropFirst(Train(plan, 1), Op::kReduceGradient); }, "rank 1 train[",
     "has not been reduced"},
    {"ExchangeMissing", Exchanging(),
     [](Plan& plan) { DropFirst(Train(plan, 1), Op::kExchangeCopies); }, "rank 1 train[",
     "the copies have not been exchanged"},
    {"CollectivesInAnotherOrder", Exchanging(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);  // bucket 0 goes behind bucket 1
       const int first = FindOp(program, Op::kExchangeCopies), agree = FindOp(program, Op::kAgree);
       std::rotate(program.begin() + first, program.begin() + first + 2, program.begin() + agree);
       for (Instruction& instruction : program) {
         for (int& wait : instruction.waits) wait -= wait > first + 1 && wait < agree ? 2 : 0;
       }
     },
     "rank 1 train[", "buckets are summed in ascending order"},
    {"AgreeMissing", TwoRanks(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kAgree); },
     "rank 0 train[", "comes before agree"},
    {"OptimizerDoesNotWait", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindOp(program, Op::kOptimizer)].waits.clear();
     },
     "rank 0 train[", "does not wait for agree"},
    {"OptimizerTwice", TwoRanks(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kOptimizer)); },
     "rank 0 train[", "runs twice"},
    {"SnapshotMissing", TwoRanks(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kSnapshot); },
     "rank 0 train[", "end of program: snapshot is missing"},
    {"MicrobatchOfAnotherRank", Exchanging(),
     [](Plan& plan) { Train(plan, 0)[FindOp(Train(plan, 0), Op::kLoad)].microbatch = 3; },
     "rank 0 train[0] load", "runs on rank 1"},
    {"OptimizerInAnEvaluation", TwoRanks(),
     [](Plan& plan) {
       plan.ranks[0].evaluate.push_back(Train(plan, 0)[FindOp(Train(plan, 0), Op::kOptimizer)]);
     },
     "rank 0 evaluate[", "has no place in an evaluate program"},
    {"UnknownInstruction", TwoRanks(), [](Plan& plan) { Train(plan, 0)[0].op = Op(77); },
     "rank 0 train[0] unknown", "is no instruction"},
    {"WrongStream", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[1].stream = StreamKind::kComputeHigh; },
     "rank 0 train[1] forward", "runs on the compute-high stream; needs compute"},
    {"HalfASubLayer", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[1].segment.phase = Phase::kAttention; },
     "rank 0 train[1] forward", "covers a part of its sub-layers"},
};
INSTANTIATE_TEST_SUITE_P(Programs, BrokenPlanTest, ::testing::ValuesIn(kProgramBreaks), NameOf);

// The first activation leaves only after the first gradient has come, which needs the activation:
// each program is right by itself.
TEST(CheckPlan, RefusesARendezvousThatHangs) {
  const JobSpec spec = SmallSpec({.microbatches = 2});
  Plan plan = CompileOrDie(spec);
  auto& program = plan.ranks[0].train;
  const int receive = FindOp(program, Op::kReceiveGradient);
  ASSERT_TRUE(program[receive].waits.empty());
  std::rotate(program.begin(), program.begin() + receive, program.begin() + receive + 1);
  for (Instruction& instruction : program) {
    for (int& wait : instruction.waits) wait = wait == receive ? 0 : wait + (wait < receive);
    std::sort(instruction.waits.begin(), instruction.waits.end());
  }
  ASSERT_TRUE(CheckPlan(plan, spec).ok());
  AddWait(program[FindOp(program, Op::kSendActivation)], 0);
  const absl::Status status = CheckPlan(plan, spec);
  EXPECT_THAT(std::string(status.message()),
              AllOf(StartsWith("rank 0 train[0] receive-gradient"),
                    HasSubstr("never meets its peer; what hangs: rank 0 [0] receive-gradient"),
                    HasSubstr("rank 1 [1] receive-activation")));
}

TEST(CheckPlan, DrawsTheGridAroundTheFault) {
  const JobSpec spec = SmallSpec({});
  Plan plan = CompileOrDie(spec);
  plan.ranks[1].train[FindOp(plan.ranks[1].train, Op::kForward)].reads.pop_back();
  const std::string message(CheckPlan(plan, spec).message());
  EXPECT_THAT(message, HasSubstr("> 2 forward stage=1"));
  EXPECT_THAT(message, HasSubstr("r0 f0 f1 b0"));
  EXPECT_THAT(message, HasSubstr("r1 >f0< i0 w0 f1"));
}

}  // namespace
}  // namespace birkhoff
