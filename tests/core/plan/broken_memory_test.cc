// Programs whose buffers do not hold what is read, still hold what is filled, or are touched by two
// streams at once.
#include <vector>

#include "gtest/gtest.h"
#include "tests/core/plan/plan_breaks.h"

namespace birkhoff {
namespace {

// Two ranks with two blocks in each stage: units 0:5 and 5:10, and rank 1 splits its backwards.
SmallJob TwoBlocks() { return {.microbatches = 2, .layers = 4, .recompute = 2}; }

int BufferOf(const Plan& plan, int rank, Home home, int stage) {
  const auto& buffers = plan.ranks[rank].buffers;
  for (size_t b = 0; b < buffers.size(); ++b) {
    if (buffers[b].home == home && buffers[b].stage == stage) return static_cast<int>(b);
  }
  ADD_FAILURE() << "no " << HomeName(home) << " of stage " << stage;
  return 0;
}

// The one of these buffers that is of the home.
int& OfHome(const Plan& plan, int rank, std::vector<int>& buffers, Home home) {
  for (int& buffer : buffers) {
    if (plan.ranks[rank].buffers[buffer].home == home) return buffer;
  }
  ADD_FAILURE() << "no " << HomeName(home);
  return buffers.front();
}

const Break kReads[] = {
    {"TwoOfOneHomeFilled", TwoRanks(), [](Plan& plan) { Train(plan, 0)[1].fills.push_back(4); },
     "rank 0 train[1] forward", "names two buffers of home saved"},
    {"TwoOfOneHomeRead", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindCell(program, Op::kForward, 0, 1)].reads.insert(
           program[FindCell(program, Op::kForward, 0, 1)].reads.begin() + 1, 0);
     },
     "rank 0 train[5] forward", "names two buffers of home batch"},
    {"InputOfAnotherStage", Vee(),
     [](Plan& plan) {
       Instruction& forward = Train(plan, 1)[FindCell(Train(plan, 1), Op::kForward, 2, 0)];
       OfHome(plan, 1, forward.reads, Home::kInput) = BufferOf(plan, 1, Home::kInput, 1);
     },
     "rank 1 train[6] forward stage=2",
     "which holds input of stage 1 micro-batch 0, needs input of stage 2 micro-batch 0"},
    {"ScratchRead", TwoRanks(),
     [](Plan& plan) {
       Train(plan, 0)[1].reads.push_back(static_cast<int>(plan.ranks[0].buffers.size()) - 1);
     },
     "rank 0 train[1] forward", "which holds nothing, needs scratch of stage 0 micro-batch 0"},
    {"SendReadsTooMuch", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kSendActivation)
           .reads.push_back(BufferOf(plan, 0, Home::kSaved, 0));
     },
     "rank 0 train[2] send-activation", "reads saved, output; needs output"},
    {"SendReadsSomethingElse", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kSendActivation).reads = {BufferOf(plan, 0, Home::kKept, 0)};
     },
     "rank 0 train[2] send-activation", "reads kept; needs output"},
    {"SendReadsNothing", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kSendActivation).reads.clear(); },
     "rank 0 train[2] send-activation", "reads nothing; needs output"},
    {"SendFillsSomething", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 0), Op::kSendActivation).fills = {BufferOf(plan, 0, Home::kGradientIn, 0)};
     },
     "rank 0 train[2] send-activation", "fills gradient-in; needs nothing"},
    {"BackwardWithoutItsGradient", TwoRanks(),
     [](Plan& plan) {
       Instruction& backward = First(Train(plan, 0), Op::kBackward);
       std::erase(backward.reads, OfHome(plan, 0, backward.reads, Home::kGradientIn));
     },
     "rank 0 train[", "reads batch, saved, kept; needs batch, saved, kept, gradient-in"},
    {"WeightGradientOfWhatWasFreed", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       const int free = FindOp(program, Op::kFree);
       program[free].reads.push_back(
           OfHome(plan, 1, First(program, Op::kBackwardWeight).reads, Home::kKept));
     },
     "rank 1 train[7] backward-weight", "which holds nothing, needs kept of stage 1 micro-batch 0"},
};
INSTANTIATE_TEST_SUITE_P(Reads, BrokenPlanTest, ::testing::ValuesIn(kReads), NameOf);

const Break kFills[] = {
    {"FillsABufferOfAnotherStage", Vee(),
     [](Plan& plan) {
       Instruction& forward = Train(plan, 1)[FindCell(Train(plan, 1), Op::kForward, 2, 0)];
       OfHome(plan, 1, forward.fills, Home::kSaved) = BufferOf(plan, 1, Home::kSaved, 1) + 1;
     },
     "rank 1 train[6] forward", "of stage 1, needs one of stage 2"},
    {"HandOffToItsOwnStage", Vee(),
     [](Plan& plan) {
       First(Train(plan, 1), Op::kHandOffActivation).fills = {BufferOf(plan, 1, Home::kInput, 1) +
                                                              1};
     },
     "rank 1 train[3] hand-off-activation", "of stage 1, needs one of stage 2"},
    {"HandOffGradientUpwards", Vee(),
     [](Plan& plan) {
       First(Train(plan, 1), Op::kHandOffGradient).fills = {
           BufferOf(plan, 1, Home::kGradientIn, 2) + 1};
     },
     "rank 1 train[26] hand-off-gradient", "of stage 2, needs one of stage 1"},
    {"HandOffIntoTheWrongHome", Vee(),
     [](Plan& plan) {
       First(Train(plan, 1), Op::kHandOffActivation).fills = {BufferOf(plan, 1, Home::kSaved, 2)};
     },
     "rank 1 train[3] hand-off-activation", "fills saved; needs input"},
    {"LoadIntoAFullBuffer", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Instruction& load = program[FindCell(program, Op::kLoad, 0, 1)];
       load.fills = {0};
       load.waits = {1};
     },
     "rank 0 train[4] load", "fills b0, which still holds batch of stage 0 micro-batch 0"},
    {"ReceiveIntoTheWrongHome", TwoRanks(),
     [](Plan& plan) {
       First(Train(plan, 1), Op::kReceiveActivation).fills = {
           BufferOf(plan, 1, Home::kGradientOut, 1)};
     },
     "rank 1 train[1] receive-activation", "fills gradient-out; needs input"},
    {"LoadFillsNothing", TwoRanks(), [](Plan& plan) { Train(plan, 0)[0].fills.clear(); },
     "rank 0 train[0] load", "fills nothing; needs batch"},
    {"WholeBackwardWithPending", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 1), Op::kBackwardInput).op = Op::kBackward; },
     "rank 1 train[3] backward ",
     "fills gradient-out, pending, scratch; needs gradient-out, scratch"},
};
INSTANTIATE_TEST_SUITE_P(Fills, BrokenPlanTest, ::testing::ValuesIn(kFills), NameOf);

const Break kFrees[] = {
    {"FreesNothing", TwoRanks(), [](Plan& plan) { First(Train(plan, 0), Op::kFree).reads.clear(); },
     "rank 0 train[3] free", "must read what it frees and fill nothing"},
    {"FreesAndFills", TwoRanks(), [](Plan& plan) { First(Train(plan, 0), Op::kFree).fills = {3}; },
     "rank 0 train[3] free", "must read what it frees and fill nothing"},
    {"FreesAnotherMicrobatch", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kFree).microbatch = 1; }, "rank 0 train[3] free",
     "frees b7, which holds output of stage 0 micro-batch 0"},
    {"FreesAnotherStage", Vee(), [](Plan& plan) { First(Train(plan, 1), Op::kFree).stage = 2; },
     "rank 1 train[4] free", "frees b14, which holds output of stage 1 micro-batch 0"},
    {"FreesOneBufferTwice", TwoRanks(),
     [](Plan& plan) {
       Instruction& free = First(Train(plan, 0), Op::kFree);
       free.reads.push_back(free.reads[0]);
     },
     "rank 0 train[3] free", "names b7 twice"},
    {"KeptAfterAnEvaluation", TwoRanks(),
     [](Plan& plan) { First(Evaluate(plan, 1), Op::kFree).reads.pop_back(); },
     "rank 1 evaluate[6] forward", "which still holds kept of stage 1 micro-batch 0"},
    {"KeptToTheEndOfAnEvaluation", TwoRanks(),
     [](Plan& plan) { Last(Evaluate(plan, 1), Op::kFree).reads.pop_back(); },
     "rank 1 evaluate[6] forward", "b6 is never freed"},
    {"ReceivedAndNeverFreed", TwoRanks(),
     [](Plan& plan) {
       Last(Evaluate(plan, 1), Op::kFree)
           .reads.erase(Last(Evaluate(plan, 1), Op::kFree).reads.begin() + 1);
     },
     "rank 1 evaluate[5] receive-activation", "is never freed"},
};
INSTANTIATE_TEST_SUITE_P(Frees, BrokenPlanTest, ::testing::ValuesIn(kFrees), NameOf);

const Break kRaces[] = {
    {"WaitsForTheLoadOfAnother", TwoRanks(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindCell(program, Op::kForward, 0, 1)].waits = {0};
     },
     "rank 0 train[5] forward", "touches b1 without waiting for [4] load"},
    {"FreeOnAnotherStream", TwoRanks(),
     [](Plan& plan) {
       Instruction& free = First(Train(plan, 0), Op::kFree);
       free.stream = StreamKind::kCompute;
       free.channel = -1;
     },
     "rank 0 train[3] free", "touches b7 without waiting for [2] send-activation"},
    {"FilledBeforeTheSendIsOver", Vee(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       Instruction& forward = program[FindCell(program, Op::kForward, 0, 2)];
       std::erase(forward.waits, FindOp(program, Op::kFree));
     },
     "rank 0 train[9] forward", "touches b4 without waiting for [3] free"},
    {"ReceivedBeforeTheBackwardIsOver", Vee(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindCell(program, Op::kReceiveActivation, 3, 3)].waits.clear();
     },
     "rank 0 train[52] receive-activation", "touches b10 without waiting for [16] free"},
    {"LoadedBeforeTheWeightGradientIsOver", Vee(),
     [](Plan& plan) {
       auto& program = Train(plan, 0);
       program[FindCell(program, Op::kLoad, 3, 2)].waits.clear();
     },
     "rank 0 train[37] load", "touches b8 without waiting for [20] free"},
    {"BackwardBeforeItsGradientCame", TwoRanks(),
     [](Plan& plan) { First(Train(plan, 0), Op::kBackward).waits.clear(); }, "rank 0 train[",
     "without waiting for [8] receive-gradient"},
};
INSTANTIATE_TEST_SUITE_P(Races, BrokenPlanTest, ::testing::ValuesIn(kRaces), NameOf);

const Break kSegments[] = {
    {"BackwardOfAnotherBlock",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) {
       Train(plan, 0)[3].segment.units = {4, 6};
     },
     "rank 0 train[3] backward",
     "reads b5, which holds the recomputed units 3:5"},
    {"SegmentBelowAGap",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) {
       Train(plan, 0)[6].segment.units = {0, 2};
     },
     "rank 0 train[6] backward",
     "reads b4, whose gradient has come down to unit 3 only"},
    {"WeightGradientBeforeTheLastSegment", TwoBlocks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       const Instruction weight = First(program, Op::kBackwardWeight);
       const int top = FindOp(program, Op::kBackwardInput);
       Insert(program, FindOp(program, Op::kBackwardInput, top + 1) - 1, weight);
     },
     "rank 1 train[", "whose gradient has come down to unit 7 only"},
    {"GradientSentBeforeTheLastSegment", TwoBlocks(),
     [](Plan& plan) {
       auto& program = Train(plan, 1);
       Instruction send = First(program, Op::kSendGradient);
       const int top = FindOp(program, Op::kBackwardInput);
       send.waits = {top};
       Insert(program, FindOp(program, Op::kBackwardInput, top + 1) - 1, send);
     },
     "rank 1 train[6] send-gradient", "whose gradient has come down to unit 7 only"},
    {"SecondSegmentFillsInsteadOfReading",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) {
       Instruction& bottom = Train(plan, 0)[6];
       std::erase(bottom.reads, 4);
       bottom.fills.push_back(4);
     },
     "rank 0 train[6] backward",
     "fills b4, which still holds gradient-out of stage 0 micro-batch 0"},
    {"FirstSegmentReadsInsteadOfFilling",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) {
       Instruction& top = Train(plan, 0)[3];
       std::erase(top.fills, 4);
       top.reads.push_back(4);
     },
     "rank 0 train[3] backward",
     "reads b4, which holds nothing, needs gradient-out of stage 0 micro-batch 0"},
    {"RecomputeKeptForTheNextBlock",
     {.ranks = 1, .microbatches = 1, .recompute = 2},
     [](Plan& plan) { Drop(Train(plan, 0), 4); },
     "rank 0 train[4] recompute",
     "fills b5, which still holds recompute of stage 0 micro-batch 0"},
};
INSTANTIATE_TEST_SUITE_P(Segments, BrokenPlanTest, ::testing::ValuesIn(kSegments), NameOf);

}  // namespace
}  // namespace birkhoff
