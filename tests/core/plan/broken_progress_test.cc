// Programs that leave work out, do it twice or too early, or sum, agree and step in another order;
// and messages that do not match between ranks.
#include <string>
#include <utility>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_breaks.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

SmallJob Replicas() { return {.replicas = 2}; }
SmallJob Tied() { return {.tied = true}; }
SmallJob OneRankTwoBlocks() { return {.ranks = 1, .microbatches = 1, .recompute = 2}; }

void ExchangeBeforeAgree(Plan& plan, Op op) {
  auto& program = Train(plan, 0);
  Instruction sum = First(program, Op::kAgree);
  sum.op = op;
  sum.bucket = 1;
  Insert(program, FindOp(program, Op::kAgree), sum);
}

const Break kPasses[] = {
    {"ForwardTwiceInAnEvaluation", Alone(),
     [](Plan& plan) {
       auto& program = Evaluate(plan, 0);
       std::vector<Instruction> again(program.begin(), program.begin() + 3);
       again[0].waits = {2};
       again[1].waits = {3};
       for (int i = 0; i < 3; ++i) Insert(program, 3 + i, again[i]);
     },
     "rank 0 evaluate[4] forward", "this forward has run already"},
    {"ForwardOfAPart", TwoRanks(),
     [](Plan& plan) {
       Train(plan, 0)[1].segment.units = {0, 2};
     },
     "rank 0 train[1] forward", "a forward covers its whole stage"},
    {"ForwardWithoutUnits", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].segment.units = {}; },
     "rank 0 train[1] forward", "a forward covers its whole stage"},
    {"RecomputeOfNoBlock", OneRankTwoBlocks(),
     [](Plan& plan) {
       Train(plan, 0)[2].segment.units = {2, 4};
     },
     "rank 0 train[2] recompute", "these units are no recompute block of the stage"},
    {"RecomputeOfAHalfBlock", OneRankTwoBlocks(),
     [](Plan& plan) {
       Train(plan, 0)[2].segment.units = {3, 4};
     },
     "rank 0 train[2] recompute", "these units are no recompute block of the stage"},
    {"BackwardBeforeItsForward", UnitByUnit(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Instruction receive = First(program, Op::kReceiveGradient);
       Instruction backward = First(program, Op::kBackward);
       Insert(program, 1, receive);
       backward.waits = {0, 1};
       Insert(program, 2, backward);
     },
     "rank 0 train[2] backward", "its forward has not run"},
    {"BackwardOfNoUnits", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kBackward).segment.units = {3, 3};
     },
     "rank 0 train[", "its units are not of its stage"},
    {"BackwardBelowItsStage", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kBackward).segment.units = {-1, 3};
     },
     "rank 0 train[", "its units are not of its stage"},
    {"BackwardOfAPart", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kBackward).segment.units = {1, 3};
     },
     "rank 0 train[", "its units are neither the stage nor one of its blocks"},
    {"BackwardTwice", UnitByUnit(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kBackward)); },
     "rank 0 train[", "the input gradient has come down to unit 0, this segment starts at 1"},
    {"WeightGradientFirst", UnitByUnit(),
     [](Plan& plan) {
       auto& program = Train(plan, 5);
       Insert(program, FindOp(program, Op::kBackwardInput), First(program, Op::kBackwardWeight));
     },
     "rank 5 train[3] backward-weight",
     "the weight gradient has come down to unit 6 and the input gradient to unit 6"},
    {"WeightGradientTwice", UnitByUnit(),
     [](Plan& plan) { Repeat(Train(plan, 5), FindOp(Train(plan, 5), Op::kBackwardWeight)); },
     "rank 5 train[",
     "the weight gradient has come down to unit 5 and the input gradient to unit 5"},
    {"WeightGradientBetweenTwoSegments",
     {.microbatches = 2, .layers = 4, .recompute = 2},
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       Instruction weight = First(program, Op::kBackwardWeight);
       const int top = FindOp(program, Op::kBackwardInput);
       weight.segment = program[top].segment;
       Insert(program, top + 1, weight);
     },
     "rank 1 train[",
     "a stage's backward is either whole or split"},
};
INSTANTIATE_TEST_SUITE_P(Passes, BrokenPlanTest, ::testing::ValuesIn(kPasses), NameOf);

Instruction Mark(Op op) {
  Instruction mark;
  mark.op = op;
  return mark;
}

const Break kPairs[] = {
    {"PairOfNothing", TwoRanks(),
     [](Plan& plan) {
       Insert(Train(plan, 0), 0, Mark(Op::kOverlapEnd));
       Insert(Train(plan, 0), 0, Mark(Op::kOverlapBegin));
     },
     "rank 0 train[1] overlap-end", "a pair holds a forward and a backward"},
    {"PairOfAForward", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Insert(program, FindOp(program, Op::kForward) + 1, Mark(Op::kOverlapEnd));
       Insert(program, 0, Mark(Op::kOverlapBegin));
     },
     "rank 0 train[3] overlap-end", "a pair holds a forward and a backward"},
    {"PairOfABackward", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int backward = FindOp(program, Op::kBackward);
       Insert(program, backward + 1, Mark(Op::kOverlapEnd));
       Insert(program, backward, Mark(Op::kOverlapBegin));
     },
     "rank 0 train[", "a pair holds a forward and a backward"},
    {"PairOfAForwardAndARecompute", OneRankTwoBlocks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Insert(program, FindOp(program, Op::kRecompute) + 1, Mark(Op::kOverlapEnd));
       Insert(program, 0, Mark(Op::kOverlapBegin));
     },
     "rank 0 train[4] overlap-end", "a pair holds a forward and a backward"},
    {"PairOpenAtTheEnd", TwoRanks(),
     [](Plan& plan) { Train(plan, 0).push_back(Mark(Op::kOverlapBegin)); },
     "rank 0 train[31] overlap-begin", "the pair is never closed"},
};
INSTANTIATE_TEST_SUITE_P(Pairs, BrokenPlanTest, ::testing::ValuesIn(kPairs), NameOf);

const Break kSums[] = {
    {"BucketOfAnotherRank", Replicas(),
     [](Plan& plan) { First(Train(plan, 0), Op::kReduceGradient).bucket = 0; }, "rank 0 train[",
     "this rank does not hold the bucket"},
    {"ExchangeOfOneHolder", TwoRanks(),
     [](Plan& plan) { ExchangeBeforeAgree(plan, Op::kExchangeCopies); },
     "rank 0 train[28] exchange-copies", "there is nothing to sum with"},
    {"ReduceOfOneReplica", TwoRanks(),
     [](Plan& plan) { ExchangeBeforeAgree(plan, Op::kReduceGradient); },
     "rank 0 train[28] reduce-gradient", "there is nothing to sum with"},
    {"ExchangedTwice", Exchanging(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kExchangeCopies)); },
     "rank 0 train[", "the bucket has been summed already"},
    {"ReducedTwice", Exchanging(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kReduceGradient)); },
     "rank 0 train[", "the bucket has been summed already"},
    {"ReducedBeforeTheExchange", Exchanging(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       std::swap(First(program, Op::kExchangeCopies).op, First(program, Op::kReduceGradient).op);
     },
     "rank 1 train[", "the copies have not been exchanged"},
    {"ReduceDoesNotWait", Replicas(),
     [](Plan& plan) { First(Train(plan, 0), Op::kReduceGradient).waits.clear(); },
     "rank 0 train[28] reduce-gradient", "does not wait for [26] backward"},
    {"ReducedBeforeTheLastMicrobatch", Replicas(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const Instruction reduce = First(program, Op::kReduceGradient);
       Instruction early = reduce;
       early.waits = {};
       Insert(program, FindCell(program, Op::kBackward, 0, 3), early);
     },
     "rank 0 train[", "stage 0 still owes the weight gradients of 1 micro-batches"},
    {"TiedWeightsNotExchanged", Tied(),
     [](Plan& plan) { DropFirst(Train(plan, 1), Op::kExchangeCopies); }, "rank 1 train[",
     "the copies of bucket 1 have not been exchanged"},
    {"NotReduced", Replicas(), [](Plan& plan) { DropFirst(Train(plan, 0), Op::kReduceGradient); },
     "rank 0 train[", "bucket 1 has not been reduced"},
};
INSTANTIATE_TEST_SUITE_P(Sums, BrokenPlanTest, ::testing::ValuesIn(kSums), NameOf);

const Break kEnds[] = {
    {"AgreesTwice", TwoRanks(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kAgree)); },
     "rank 0 train[29] agree", "agrees twice"},
    {"AgreesBeforeTheWork", TwoRanks(),
     [](Plan& plan) {
       Instruction agree = First(Train(plan, 0), Op::kAgree);
       agree.waits = {};
       Insert(Train(plan, 0), 0, agree);
     },
     "rank 0 train[0] agree", "stage 0 has 4 unfinished micro-batches"},
    {"AgreeDoesNotWait", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kAgree).waits.clear(); }, "rank 0 train[28] agree",
     "does not wait for [26] backward"},
    {"AgreeOfAnEvaluationDoesNotWait", TwoRanks(),
     [](Plan& plan) { First(Evaluate(plan, 1), Op::kAgree).waits.clear(); },
     "rank 1 evaluate[8] agree", "does not wait for [6] forward"},
    {"MicrobatchMissingInAnEvaluation", Alone(),
     [](Plan& plan) {
       for (int i = 0; i < 3; ++i) Drop(Evaluate(plan, 0), 3);
     },
     "rank 0 evaluate[3] agree", "stage 0 has 1 unfinished micro-batches"},
    {"AgreeMissingAtTheEnd", TwoRanks(),
     [](Plan& plan) { Train(plan, 0).resize(Train(plan, 0).size() - 3); },
     "rank 0 train[28] end of program", "agree is missing"},
    {"AgreeMissingInAnEvaluation", TwoRanks(), [](Plan& plan) { Evaluate(plan, 1).pop_back(); },
     "rank 1 evaluate[8] end of program", "agree is missing"},
    {"OptimizerMissing", TwoRanks(),
     [](Plan& plan) { Train(plan, 0).resize(Train(plan, 0).size() - 2); },
     "rank 0 train[29] end of program", "optimizer is missing"},
    {"SnapshotBeforeTheOptimizer", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       std::swap(First(program, Op::kOptimizer).op, First(program, Op::kSnapshot).op);
     },
     "rank 0 train[29] snapshot", "comes before optimizer"},
    {"OptimizerBeforeAgree", TwoRanks(),
     [](Plan& plan) { Insert(Train(plan, 0), 28, Mark(Op::kOptimizer)); },
     "rank 0 train[28] optimizer", "comes before agree"},
    {"SnapshotTwice", TwoRanks(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kSnapshot)); },
     "rank 0 train[31] snapshot", "runs twice"},
    {"ProgramEmpty", TwoRanks(), [](Plan& plan) { Train(plan, 1).clear(); },
     "rank 1 train[0] end of program", "agree is missing"},
};
INSTANTIATE_TEST_SUITE_P(Ends, BrokenPlanTest, ::testing::ValuesIn(kEnds), NameOf);

const Break kMessages[] = {
    {"SentTwice", TwoRanks(),
     [](Plan& plan) { Repeat(Train(plan, 0), FindOp(Train(plan, 0), Op::kSendActivation)); },
     "rank 1 train[10] receive-activation",
     "receive 1 of channel 0 meets another message: rank 0 [3] send-activation"},
    {"LastSentTwice", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int last = FindCell(program, Op::kSendActivation, 0, 3);
       Repeat(program, last);
     },
     "rank 0 train[", "nobody receives message 4 of channel 0"},
    {"SentInAnotherOrder",
     {.microbatches = 2},
     [](Plan& plan) {
       // Both outputs are there before either is sent: the first two sends trade their contents.
       auto& program = Train(plan, 0);
       const int first = FindCell(program, Op::kSendActivation, 0, 0);
       const int second = FindCell(program, Op::kSendActivation, 0, 1);
       Instruction send = program[first], free = program[first + 1];
       send.waits = {};
       Insert(program, second + 2, free);
       Insert(program, second + 2, send);
       Drop(program, first);
       Drop(program, first);
     },
     "rank 1 train[1] receive-activation stage=1 microbatch=0",
     "receive 0 of channel 0 meets another message: rank 0 [4] send-activation stage=0 "
     "microbatch=1"},
    {"ReceivedInAnEvaluationOnly", TwoRanks(),
     [](Plan& plan) {
       auto& program = Evaluate(plan, 0);
       Drop(program, FindCell(program, Op::kSendActivation, 0, 1) + 1);
       const int send = FindCell(program, Op::kSendActivation, 0, 1);
       program[send].op = Op::kFree;
       program[send].waits = {FindCell(program, Op::kForward, 0, 1)};
     },
     "rank 1 evaluate[5] receive-activation", "nobody sends message 1 of channel 0"},
};
INSTANTIATE_TEST_SUITE_P(Messages, BrokenPlanTest, ::testing::ValuesIn(kMessages), NameOf);

TEST(CheckPlan, RefusesAnEvaluationThatNobodyAskedFor) {
  JobSpec spec = SmallSpec({});
  spec.training.validation_interval = 0;
  Plan plan = CompileOrDie(spec);
  ASSERT_TRUE(CheckPlan(plan, spec).ok());
  Evaluate(plan, 1).push_back(First(Train(plan, 1), Op::kAgree));
  EXPECT_THAT(
      std::string(CheckPlan(plan, spec).message()),
      AllOf(StartsWith("rank 1 evaluate[0] agree"), HasSubstr("this plan evaluates nothing")));
}

// Rank 1 sends its last gradient after the sum of the tied weights, for which rank 0 needs it.
TEST(CheckPlan, RefusesASumThatAMessageWaitsFor) {
  const JobSpec spec = SmallSpec({.microbatches = 1, .tied = true});
  Plan plan = CompileOrDie(spec);
  auto& program = Train(plan, 1);
  Instruction send = First(program, Op::kSendGradient);
  Instruction free = program[FindOp(program, Op::kSendGradient) + 1];
  const int exchange = FindOp(program, Op::kExchangeCopies);
  send.waits.push_back(exchange);
  Insert(program, exchange + 1, free);
  Insert(program, exchange + 1, send);
  const int first = FindOp(program, Op::kSendGradient);
  Drop(program, first);
  Drop(program, first);
  EXPECT_THAT(std::string(CheckPlan(plan, spec).message()),
              AllOf(HasSubstr("never meets its peer; what hangs: rank 0 ["),
                    HasSubstr("receive-gradient stage=0"), HasSubstr("exchange-copies bucket=1")));
}

}  // namespace
}  // namespace birkhoff
