// Instructions that are not well formed by themselves: one wrong field each, and every limit of a
// field from both sides.
#include <algorithm>
#include <string>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/ops.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_breaks.h"

namespace birkhoff {
namespace {

using ::testing::StartsWith;

SmallJob ThreeRanks() { return {.ranks = 3}; }

const Break kWaits[] = {
    {"WaitsForItself", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].waits = {1}; },
     "rank 0 train[1] forward", "waits for 1; needs an earlier instruction"},
    {"WaitsForANegativeIndex", TwoRanks(),
     [](Plan& plan) {
       Train(plan, 0)[1].waits = {-1, 0};
     },
     "rank 0 train[1] forward", "waits for -1; needs an earlier instruction"},
    {"WaitsDescend", TwoRanks(),
     [](Plan& plan) {
       Instruction& agree = First(Train(plan, 0), Op::kAgree);
       agree.waits = {2, 0};
     },
     "rank 0 train[28] agree", "its waits are not ascending"},
    {"WaitsTwiceForOne", TwoRanks(),
     [](Plan& plan) {
       Train(plan, 0)[1].waits = {0, 0};
     },
     "rank 0 train[1] forward", "its waits are not ascending"},
    {"WaitsForItsOwnChannel", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int first = FindOp(program, Op::kSendActivation);
       AddWait(program[FindOp(program, Op::kSendActivation, first + 1)], first);
     },
     "rank 0 train[", "waits for 2 of its own stream"},
};
INSTANTIATE_TEST_SUITE_P(Waits, BrokenPlanTest, ::testing::ValuesIn(kWaits), NameOf);

const Break kStreams[] = {
    {"StreamBeyondTheLast", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[1].stream = StreamKind(5); }, "rank 0 train[1] forward",
     "has no such stream"},
    {"StreamBelowTheFirst", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[1].stream = StreamKind(-1); }, "rank 0 train[1] forward",
     "has no such stream"},
    {"LoadOnTheComputeStream", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[0].stream = StreamKind::kCompute; }, "rank 0 train[0] load",
     "runs on the compute stream; needs copy"},
    {"AgreeOnTheComputeStream", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kAgree).stream = StreamKind::kCompute;
       First(Train(plan, 0), Op::kAgree).waits = {};
     },
     "rank 0 train[", "runs on the compute stream; needs collective"},
    {"SendOnTheCollectiveStream", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kSendActivation).stream = StreamKind::kCollective;
     },
     "rank 0 train[2] send-activation", "runs on the collective stream; needs channel"},
    {"ForwardWithAChannel", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].channel = 0; },
     "rank 0 train[1] forward", "needs no channel"},
    {"FreeWithAChannelOffIt", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kFree).stream = StreamKind::kCompute; },
     "rank 0 train[3] free", "needs no channel"},
    {"FreeOnNoChannel", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kFree).channel = -1; }, "rank 0 train[3] free",
     "has no such channel"},
    {"SendOnNoChannel", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kSendActivation).channel = -1; },
     "rank 0 train[2] send-activation", "has no such channel"},
    {"SendOnAChannelBeyondTheLast", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kSendActivation).channel = static_cast<int>(plan.channels.size());
     },
     "rank 0 train[2] send-activation", "has no such channel"},
    {"SendOnAChannelOfOthers", ThreeRanks(),
     [](Plan& plan) {
       int others = 0;
       while (plan.channels[others].source == 0 || plan.channels[others].destination == 0) ++others;
       First(Train(plan, 0), Op::kSendActivation).channel = others;
     },
     "rank 0 train[2] send-activation", "has no end at this rank"},
    {"SendOnTheChannelOfGradients", ThreeRanks(),
     [](Plan& plan) {
       Instruction& send = First(Train(plan, 1), Op::kSendActivation);
       send.channel = First(Train(plan, 1), Op::kSendGradient).channel;
     },
     "rank 1 train[", "goes from rank 1 to rank 0; needs activations from rank 1 to rank 2"},
    {"ReceiveFromTheWrongSide", ThreeRanks(),
     [](Plan& plan) {
       Instruction& receive = First(Train(plan, 1), Op::kReceiveActivation);
       receive.channel = First(Train(plan, 1), Op::kReceiveGradient).channel;
     },
     "rank 1 train[", "goes from rank 2 to rank 1; needs activations from rank 0 to rank 1"},
    {"GradientOnTheChannelOfActivations", ThreeRanks(),
     [](Plan& plan) {
       Instruction& send = First(Train(plan, 1), Op::kSendGradient);
       send.channel = First(Train(plan, 1), Op::kSendActivation).channel;
     },
     "rank 1 train[", "goes from rank 1 to rank 2; needs gradients from rank 1 to rank 0"},
};
INSTANTIATE_TEST_SUITE_P(Streams, BrokenPlanTest, ::testing::ValuesIn(kStreams), NameOf);

const Break kPlaces[] = {
    {"StageBeyondTheLast", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].stage = 2; },
     "rank 0 train[1] forward stage=2", "has no such stage"},
    {"StageBelowTheFirst", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].stage = -2; },
     "rank 0 train[1] forward stage=-2", "has no such stage"},
    {"LoadWithoutAStage", TwoRanks(), [](Plan& plan) { Train(plan, 0)[0].stage = -1; },
     "rank 0 train[0] load microbatch=0", "has no such stage"},
    {"MicrobatchBeyondTheLast", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].microbatch = 4; },
     "rank 0 train[1] forward", "has no such micro-batch; there are 4"},
    {"MicrobatchBelowTheFirst", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].microbatch = -1; },
     "rank 0 train[1] forward", "has no such micro-batch; there are 4"},
    {"MicrobatchBeyondTheEvaluation", TwoRanks(),
     [](Plan& plan) { Evaluate(plan, 0)[1].microbatch = 2; }, "rank 0 evaluate[1] forward",
     "has no such micro-batch; there are 2"},
    {"StageOfAnotherRank", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].stage = 1; },
     "rank 0 train[1] forward stage=1", "stage 1 of micro-batch 0 runs on rank 1"},
    {"DirectionOfAnotherRank", Exchanging(),
     [](Plan& plan) { Train(plan, 1)[FindOp(Train(plan, 1), Op::kForward)].microbatch = 0; },
     "rank 1 train[", "stage 0 of micro-batch 0 runs on rank 0"},
    {"SendBeyondTheHead", TwoRanks(),
     [](Plan& plan) {
       Instruction& send = First(Train(plan, 1), Op::kSendGradient);
       send.op = Op::kSendActivation;
     },
     "rank 1 train[", "there is no stage beyond"},
    {"ReceiveBeforeTheEmbedding", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kReceiveGradient).op = Op::kReceiveActivation; },
     "rank 0 train[", "there is no stage beyond"},
    {"HandOffBeyondTheHead", Vee(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Instruction hand_off = First(program, Op::kForward);
       hand_off.op = Op::kHandOffActivation;
       hand_off.stage = plan.NumStages() - 1;
       hand_off.segment = {};
       Insert(program, FindCell(program, Op::kForward, hand_off.stage, 0) + 1, hand_off);
     },
     "rank 0 train[", "there is no stage beyond"},
    {"HandOffBeforeTheEmbedding", Vee(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       const int backward = FindOp(program, Op::kBackward);
       Instruction hand_off = program[backward];
       hand_off.op = Op::kHandOffGradient;
       hand_off.segment = {};
       hand_off.waits = {};
       Insert(program, backward + 1, hand_off);
     },
     "rank 0 train[", "there is no stage beyond"},
    {"HandOffToAnotherRank", Vee(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Instruction hand_off = First(program, Op::kForward);
       hand_off.op = Op::kHandOffActivation;
       hand_off.segment = {};
       hand_off.waits = {};
       Insert(program, FindOp(program, Op::kForward) + 1, hand_off);
     },
     "rank 0 train[2] hand-off-activation", "stage 1 of micro-batch 0 runs on rank 1"},
};
INSTANTIATE_TEST_SUITE_P(Places, BrokenPlanTest, ::testing::ValuesIn(kPlaces), NameOf);

const Break kFields[] = {
    {"NumberZero", TwoRanks(), [](Plan& plan) { Train(plan, 0)[0].op = Op(0); },
     "rank 0 train[0] unknown", "is no instruction"},
    {"NumberBeyondTheLast", TwoRanks(), [](Plan& plan) { Train(plan, 0)[0].op = Op(21); },
     "rank 0 train[0] unknown", "is no instruction"},
    {"NegativeTime", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].estimated_ns = -1; },
     "rank 0 train[1] forward", "takes a negative time"},
    {"LoadWithUnits", TwoRanks(),
     [](Plan& plan) {
       Train(plan, 0)[0].segment.units = {0, 3};
     },
     "rank 0 train[0] load", "needs no units"},
    {"ForwardWithABucket", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].bucket = 0; },
     "rank 0 train[1] forward", "needs no bucket"},
    {"AgreeWithABucket", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kAgree).bucket = 1; }, "rank 0 train[",
     "needs no bucket"},
    {"ExchangeWithoutABucket", Exchanging(),
     [](Plan& plan) { First(Train(plan, 0), Op::kExchangeCopies).bucket = -1; }, "rank 0 train[",
     "has no such bucket"},
    {"ReduceOfABucketBeyondTheLast", Exchanging(),
     [](Plan& plan) { First(Train(plan, 0), Op::kReduceGradient).bucket = 2; }, "rank 0 train[",
     "has no such bucket"},
    {"FillsANegativeBuffer", TwoRanks(), [](Plan& plan) { Train(plan, 0)[0].fills = {-1}; },
     "rank 0 train[0] load", "there is no b-1"},
    {"FillsABufferBeyondTheLast", TwoRanks(),
     [](Plan& plan) { Train(plan, 0)[0].fills = {static_cast<int>(plan.ranks[0].buffers.size())}; },
     "rank 0 train[0] load", "there is no b"},
    {"AgreeWithAStage", TwoRanks(), [](Plan& plan) { First(Train(plan, 0), Op::kAgree).stage = 0; },
     "rank 0 train[", "needs no stage, micro-batch or buffer"},
    {"AgreeWithAMicrobatch", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kAgree).microbatch = 0; }, "rank 0 train[",
     "needs no stage, micro-batch or buffer"},
    {"OptimizerReadsABuffer", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kOptimizer).reads = {0}; }, "rank 0 train[",
     "needs no stage, micro-batch or buffer"},
    {"SnapshotFillsABuffer", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kSnapshot).fills = {0}; }, "rank 0 train[",
     "needs no stage, micro-batch or buffer"},
    {"MarkWithAStage", Vee(),
     [](Plan& plan) { First(Train(plan, 0), Op::kOverlapBegin).stage = 0; }, "rank 0 train[",
     "needs no stage, micro-batch or buffer"},
};
INSTANTIATE_TEST_SUITE_P(Fields, BrokenPlanTest, ::testing::ValuesIn(kFields), NameOf);

// By the table of docs/plan.md: a forward and what brings its operands and takes its results away.
TEST(EvaluateProgram, HasRoomForForwardsOnly) {
  const JobSpec spec = SmallSpec({});
  const Plan plan = CompileOrDie(spec);
  const std::vector<Op> forwards = {
      Op::kLoad, Op::kForward,           Op::kSendActivation, Op::kReceiveActivation,
      Op::kFree, Op::kHandOffActivation, Op::kAgree};
  for (const OpInfo& info : AllOps()) {
    Plan edited = plan;
    Instruction instruction;
    instruction.op = info.op;
    Evaluate(edited, 0).insert(Evaluate(edited, 0).begin(), instruction);
    const std::string message(CheckPlan(edited, spec).message());
    const bool fits = std::find(forwards.begin(), forwards.end(), info.op) != forwards.end();
    EXPECT_THAT(message, StartsWith("rank 0 evaluate[0]")) << info.name;
    EXPECT_EQ(message.find("has no place in an evaluate program") == std::string::npos, fits)
        << info.name;
  }
}

// A channel is a stream of its own: waiting across two of them is what orders them.
TEST(ChannelStreams, MayWaitForEachOther) {
  const JobSpec spec = SmallSpec({});
  Plan plan = CompileOrDie(spec);
  auto& program = Train(plan, 1);
  const int receive = FindCell(program, Op::kReceiveActivation, 1, 1);
  Instruction& send = program[FindCell(program, Op::kSendGradient, 1, 3)];
  AddWait(send, receive);
  EXPECT_TRUE(CheckPlan(plan, spec).ok()) << CheckPlan(plan, spec);
}

// Whatever time an instruction takes, a plan is as right as before.
TEST(EstimatedTimes, MayBeAnythingThatIsNotNegative) {
  const JobSpec spec = SmallSpec({});
  Plan plan = CompileOrDie(spec);
  Rng rng(6);
  for (RankPlan& rank : plan.ranks) {
    for (auto* program : {&rank.train, &rank.evaluate}) {
      for (Instruction& i : *program) i.estimated_ns = static_cast<int64_t>(rng.Next() >> 20);
    }
  }
  EXPECT_TRUE(CheckPlan(plan, spec).ok()) << CheckPlan(plan, spec);
}

// FAILED_PRECONDITION names the first of two faults in program order.
TEST(TwoFaults, TheFirstIsNamed) {
  const JobSpec spec = SmallSpec({});
  Plan plan = CompileOrDie(spec);
  Train(plan, 1)[0].estimated_ns = -1;
  Train(plan, 0)[4].estimated_ns = -1;
  Train(plan, 0)[5].estimated_ns = -1;
  EXPECT_THAT(std::string(CheckPlan(plan, spec).message()), StartsWith("rank 0 train[4]"));
}

}  // namespace
}  // namespace birkhoff
