// Tables that do not follow from their spec, or contradict each other or the programs.
#include <algorithm>
#include <string>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/memory.h"
#include "core/plan/tables.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_breaks.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

MemoryItem& Item(Plan& plan, int rank, const char* name) {
  std::vector<MemoryItem>& items = plan.ranks[rank].memory;
  return *std::find_if(items.begin(), items.end(),
                       [name](const MemoryItem& item) { return item.name == name; });
}

const Break kTableBreaks[] = {
    {"ModelHash", TwoRanks(), [](Plan& plan) { plan.model_hash.pop_back(); }, "plan: model hash",
     "needs"},
    {"GapBetweenStages", TwoRanks(), [](Plan& plan) { ++plan.stages[1].units.first; },
     "plan: stages[1]", "needs at least one unit from 3 on"},
    {"StageOfNobody", TwoRanks(), [](Plan& plan) { plan.stages[1].ranks = {7}; }, "plan: stages[1]",
     "rank 7, which does not exist"},
    {"RankListsAnotherStage", TwoRanks(),
     [](Plan& plan) {
       plan.ranks[0].stages = {0, 1};
     },
     "plan: ranks[0] stages", "is 0,1, needs 0"},
    {"ChannelBytes", TwoRanks(), [](Plan& plan) { plan.channels[0].message_bytes += 64; },
     "plan: channels[0] bytes", "needs"},
    {"ChannelToNobody", TwoRanks(), [](Plan& plan) { plan.channels[0].destination = 9; },
     "plan: channels[0]", "joins rank 0 and rank 9"},
    {"ParameterShape", TwoRanks(), [](Plan& plan) { plan.parameters[0].spec.shape[0] = 17; },
     "plan: parameters[0]", "embedding.weight [17, 8]"},
    {"ParameterDecay", TwoRanks(), [](Plan& plan) { plan.parameters[1].spec.decay = true; },
     "plan: parameters[1]", "decay=1"},
    {"ParameterMissing", TwoRanks(), [](Plan& plan) { plan.parameters.pop_back(); },
     "plan: parameters", "needs"},
    {"ParameterHolder",
     {.tied = true},
     [](Plan& plan) { plan.parameters[0].ranks = {0}; },
     "plan: parameters[0]",
     "ranks=0,1"},
    {"ParameterInTwoBuckets", TwoRanks(),
     [](Plan& plan) { plan.buckets[1].parameters.push_back(plan.buckets[0].parameters[0]); },
     "plan: buckets[1]", "which bucket 0 has already"},
    {"BucketHolders",
     {.tied = true},
     [](Plan& plan) { plan.buckets[1].ranks = {0}; },
     "plan: buckets[1] ranks",
     "needs 0,1"},
    {"BufferTooSmall", TwoRanks(), [](Plan& plan) { plan.ranks[1].buffers[2].bytes -= 64; },
     "plan: ranks[1] buffers[2] bytes", "needs"},
    {"BufferOfAnotherStage", TwoRanks(), [](Plan& plan) { plan.ranks[1].buffers[2].stage = 0; },
     "plan: ranks[1] buffers[2]", "which this rank does not hold"},
    {"BufferMemory", TwoRanks(), [](Plan& plan) { ++Item(plan, 0, "buffers").bytes; },
     "plan: ranks[0] memory buffers", "needs"},
    {"SnapshotMemory", TwoRanks(), [](Plan& plan) { --Item(plan, 1, "checkpoint snapshot").bytes; },
     "plan: ranks[1] memory checkpoint snapshot", "needs"},
    {"MemoryItemMissing", TwoRanks(), [](Plan& plan) { plan.ranks[1].memory.pop_back(); },
     "plan: ranks[1] memory", "share (host)"},
    {"MemoryItemElsewhere", TwoRanks(),
     [](Plan& plan) { Item(plan, 0, "weights").place = MemoryPlace::kHost; },
     "plan: ranks[0] memory", "is buffers (device), weights (host)"},
    {"MessageType", TwoRanks(),
     [](Plan& plan) { plan.channels[0].parts[0].dtype = DType::kBfloat16; },
     "plan: channels[0] parts", "is x:bf16:256@0"},
    {"PrecisionOfAnotherProcessor", TwoRanks(),
     [](Plan& plan) { plan.precision = Precision::kBf16; }, "plan: precision",
     "is bf16, needs fp32"},
    {"ProcessorWithoutItsPrecision", TwoRanks(),
     [](Plan& plan) { plan.processor = Processor::kCuda; }, "plan: precision",
     "is fp32, needs bf16"},
    {"Nondeterministic", TwoRanks(), [](Plan& plan) { plan.deterministic = false; },
     "plan: deterministic", "is 0, needs 1"},
    {"ParameterCopy", TwoRanks(), [](Plan& plan) { plan.parameters[0].copy = DType::kBfloat16; },
     "plan: parameters[0]", "copy=bf16"},
    {"TooManySlots", TwoRanks(),
     [](Plan& plan) {
       RankPlan& rank = plan.ranks[0];
       for (int i = 0; i < 3; ++i) rank.buffers.push_back({Home::kGradientIn, 0, 320});
     },
     "plan: ranks[0]", "incoming gradients; needs at most"},
    {"MicrobatchCount", TwoRanks(), [](Plan& plan) { plan.num_microbatches = 5; },
     "plan: micro-batches", "is 5, needs 4"},
    {"RecomputeBlock", TwoRanks(), [](Plan& plan) { plan.recompute_block = 3; },
     "plan: recompute block", "is 3, needs 0"},
    {"RankMissing", TwoRanks(), [](Plan& plan) { plan.ranks.pop_back(); }, "plan: rank plans",
     "is 1, needs 2"},
};
INSTANTIATE_TEST_SUITE_P(Tables, BrokenPlanTest, ::testing::ValuesIn(kTableBreaks), NameOf);

const Break kCountBreaks[] = {
    {"Schedule", TwoRanks(), [](Plan& plan) { plan.schedule = ScheduleKind::kDualPipeV; },
     "plan: schedule", "is dualpipev, needs 1f1b"},
    {"ScheduleOfNoName", TwoRanks(), [](Plan& plan) { plan.schedule = ScheduleKind(9); },
     "plan: schedule", "is unknown, needs 1f1b"},
    {"Ranks", TwoRanks(), [](Plan& plan) { plan.num_ranks = 1; }, "plan: ranks", "is 1, needs 2"},
    {"Replicas", TwoRanks(), [](Plan& plan) { plan.num_replicas = 2; }, "plan: replicas",
     "is 2, needs 1"},
    {"EvaluationMicrobatches", TwoRanks(), [](Plan& plan) { plan.num_evaluation_microbatches = 0; },
     "plan: evaluation micro-batches", "is 0, needs 2"},
    {"Tokens", TwoRanks(), [](Plan& plan) { plan.tokens_per_microbatch *= 2; },
     "plan: tokens per micro-batch", "is 8, needs 4"},
    {"NegativeRecomputeBlock",
     {.recompute = ParallelismSpec::kRecomputeAuto},
     [](Plan& plan) { plan.recompute_block = -1; },
     "plan: recompute block",
     "is negative"},
};
INSTANTIATE_TEST_SUITE_P(Counts, BrokenPlanTest, ::testing::ValuesIn(kCountBreaks), NameOf);

const Break kStageBreaks[] = {
    {"StageWithoutUnits", TwoRanks(), [](Plan& plan) { plan.stages[1].units.last = 3; },
     "plan: stages[1]", "has units 3:3, needs at least one unit from 3 on"},
    {"StageThatOverlaps", TwoRanks(), [](Plan& plan) { plan.stages[1].units.first = 2; },
     "plan: stages[1]", "has units 2:6, needs at least one unit from 3 on"},
    {"HeadMissing", TwoRanks(), [](Plan& plan) { --plan.stages[1].units.last; },
     "plan: units in stages", "is 5, needs 6"},
    {"UnitBeyondTheHead", TwoRanks(), [](Plan& plan) { ++plan.stages[1].units.last; },
     "plan: units in stages", "is 7, needs 6"},
    {"StageOfTwo", TwoRanks(),
     [](Plan& plan) {
       plan.stages[0].ranks = {0, 1};
     },
     "plan: stages[0] holders", "is 2, needs 1"},
    {"StageWithoutAHolder", TwoRanks(), [](Plan& plan) { plan.stages[0].ranks = {}; },
     "plan: stages[0] holders", "is 0, needs 1"},
    {"StageOfANegativeRank", TwoRanks(), [](Plan& plan) { plan.stages[0].ranks = {-1}; },
     "plan: stages[0]", "is held by rank -1, which does not exist"},
    {"CopyMissing", Exchanging(), [](Plan& plan) { plan.stages[0].ranks.pop_back(); },
     "plan: stages[0] holders", "is 1, needs 2"},
    {"CopiesOnOneRank", Exchanging(),
     [](Plan& plan) {
       plan.stages[0].ranks = {1, 1};
     },
     "plan: stages[0]", "has both its copies on one rank"},
    {"RankWithoutItsStage", TwoRanks(), [](Plan& plan) { plan.ranks[1].stages.clear(); },
     "plan: ranks[1] stages", "is , needs 1"},
    {"StagesDescend", Vee(),
     [](Plan& plan) { std::reverse(plan.ranks[0].stages.begin(), plan.ranks[0].stages.end()); },
     "plan: ranks[0] stages", "is 3,0, needs 0,3"},
};
INSTANTIATE_TEST_SUITE_P(Stages, BrokenPlanTest, ::testing::ValuesIn(kStageBreaks), NameOf);

const Break kChannelBreaks[] = {
    {"ChannelToItself", TwoRanks(), [](Plan& plan) { plan.channels[1].destination = 1; },
     "plan: channels[1]", "joins rank 1 and rank 1, needs two ranks of the plan"},
    {"ChannelFromNobody", TwoRanks(), [](Plan& plan) { plan.channels[1].source = -1; },
     "plan: channels[1]", "joins rank -1 and rank 0"},
    {"ChannelTwice", TwoRanks(), [](Plan& plan) { plan.channels.push_back(plan.channels[0]); },
     "plan: channels[2]", "repeats an earlier channel"},
    {"ChannelOfTheOtherKind", TwoRanks(),
     [](Plan& plan) { plan.channels[0].kind = ChannelKind::kGradient; }, "plan: channels[0] parts",
     "is x:fp32:256@0,p:fp32:64@256, needs dx:fp32:256@0,s:fp32:64@256"},
    {"PartMissing", TwoRanks(), [](Plan& plan) { plan.channels[0].parts.pop_back(); },
     "plan: channels[0] parts", "is x:fp32:256@0, needs x:fp32:256@0,p:fp32:64@256"},
    {"PartElsewhere", TwoRanks(), [](Plan& plan) { plan.channels[0].parts[1].offset += 64; },
     "plan: channels[0] parts", "p:fp32:64@320"},
    {"PartOfOtherSize", TwoRanks(), [](Plan& plan) { plan.channels[1].parts[1].bytes -= 4; },
     "plan: channels[1] parts", "s:fp32:60@256"},
    {"ChannelMissing", TwoRanks(), [](Plan& plan) { plan.channels.pop_back(); }, "rank 0 train[",
     "has no such channel"},
};
INSTANTIATE_TEST_SUITE_P(Channels, BrokenPlanTest, ::testing::ValuesIn(kChannelBreaks), NameOf);

const Break kParameterBreaks[] = {
    {"ParameterName", TwoRanks(), [](Plan& plan) { plan.parameters[2].spec.name += "s"; },
     "plan: parameters[2]", "is sublayers.0.attention.qkv.weights "},
    {"ParameterInitializer", TwoRanks(),
     [](Plan& plan) { plan.parameters[0].spec.initializer = Initializer::kHcBias; },
     "plan: parameters[0]", "initializer=3 "},
    {"ParameterScale", TwoRanks(), [](Plan& plan) { plan.parameters[0].spec.scale *= 2.0; },
     "plan: parameters[0]", "scale=0.04"},
    {"ParameterStages", TwoRanks(),
     [](Plan& plan) {
       plan.parameters[0].stages = {0, 1};
     },
     "plan: parameters[0]", "stages=0,1"},
    {"ParameterKindAccumulated", TwoRanks(),
     [](Plan& plan) { plan.parameters[0].kind = ParameterKind::kAccumulated; },
     "plan: parameters[0]", "kind=1"},
    {"ParameterOfNoProduct", TwoRanks(),
     [](Plan& plan) { plan.parameters[0].spec.product = false; }, "plan: parameters[0]",
     "product=0"},
    {"ParametersSwapped", TwoRanks(),
     [](Plan& plan) { std::swap(plan.parameters[1], plan.parameters[2]); }, "plan: parameters[1]",
     "is sublayers.0.attention.qkv.weight"},
    {"ParameterTooMany", TwoRanks(),
     [](Plan& plan) { plan.parameters.push_back(plan.parameters.back()); }, "plan: parameters",
     "needs"},
};
INSTANTIATE_TEST_SUITE_P(Parameters, BrokenPlanTest, ::testing::ValuesIn(kParameterBreaks), NameOf);

const Break kBucketBreaks[] = {
    {"BucketEmpty", TwoRanks(),
     [](Plan& plan) {
       plan.buckets.push_back({{}, {0}});
     },
     "plan: buckets[2]", "is empty"},
    {"BucketOfNoParameter", TwoRanks(), [](Plan& plan) { plan.buckets[0].parameters[0] = -1; },
     "plan: buckets[0]", "lists parameter -1, which does not exist"},
    {"BucketBeyondTheParameters", TwoRanks(),
     [](Plan& plan) { plan.buckets[0].parameters[0] = static_cast<int>(plan.parameters.size()); },
     "plan: buckets[0]", "which does not exist"},
    {"BucketTwiceOneParameter", TwoRanks(),
     [](Plan& plan) { plan.buckets[0].parameters.push_back(plan.buckets[0].parameters[0]); },
     "plan: buckets[0]", "which bucket 0 has already"},
    {"ParameterInNoBucket", TwoRanks(), [](Plan& plan) { plan.buckets[1].parameters.pop_back(); },
     "plan: parameters[", "bucket: is 1, needs -1"},
    {"ParameterNamesAnotherBucket", TwoRanks(), [](Plan& plan) { plan.parameters[0].bucket = 0; },
     "plan: parameters[0] bucket", "is 0, needs 1"},
    {"BucketOfTwoStages", TwoRanks(),
     [](Plan& plan) { plan.buckets[0].parameters.insert(plan.buckets[0].parameters.begin(), 0); },
     "plan: buckets[0] ranks", "is 1, needs 0"},
};
INSTANTIATE_TEST_SUITE_P(Buckets, BrokenPlanTest, ::testing::ValuesIn(kBucketBreaks), NameOf);

const Break kBufferBreaks[] = {
    {"BufferOfNoHome", TwoRanks(), [](Plan& plan) { plan.ranks[0].buffers[1].home = Home(10); },
     "plan: ranks[0] buffers[1]", "has no home"},
    {"BufferOfANegativeHome", TwoRanks(),
     [](Plan& plan) { plan.ranks[0].buffers[1].home = Home(-1); }, "plan: ranks[0] buffers[1]",
     "has no home"},
    {"BufferTooLarge", TwoRanks(), [](Plan& plan) { plan.ranks[0].buffers[0].bytes += 64; },
     "plan: ranks[0] buffers[0] bytes", "is 256, needs 192"},
    {"BufferOfAHomeThatTheEmbeddingLacks", TwoRanks(),
     [](Plan& plan) { plan.ranks[0].buffers[0].home = Home::kInput; }, "plan: ranks[0] buffers[0]",
     "is of a home that its stage does not have"},
    {"ScratchOfAStage", TwoRanks(), [](Plan& plan) { plan.ranks[1].buffers.back().stage = 1; },
     "plan: ranks[1] buffers[", "stage: is 1, needs -1"},
    {"BufferOfNoStage", TwoRanks(), [](Plan& plan) { plan.ranks[1].buffers[0].stage = -1; },
     "plan: ranks[1] buffers[0]", "belongs to stage -1, which this rank does not hold"},
    {"TwoScratches", TwoRanks(),
     [](Plan& plan) { plan.ranks[0].buffers.push_back(plan.ranks[0].buffers.back()); },
     "plan: ranks[0]", "has more than one scratch"},
    {"ScratchTooSmallForTheLargerStage", Vee(),
     [](Plan& plan) { plan.ranks[0].buffers.back().bytes -= 64; }, "plan: ranks[0] buffers[",
     "bytes: is"},
    {"TooManyInputs", TwoRanks(),
     [](Plan& plan) {
       for (int i = 0; i < 3; ++i) plan.ranks[1].buffers.push_back({Home::kInput, 1, 320});
     },
     "plan: ranks[1] stage 1", "needs at most 3 and 2"},
    {"BufferThatNobodyCounts", TwoRanks(),
     [](Plan& plan) { plan.ranks[0].buffers.push_back(plan.ranks[0].buffers[0]); },
     "plan: ranks[0] memory buffers", "needs"},
    {"MemoryItemsSwapped", TwoRanks(),
     [](Plan& plan) { std::swap(plan.ranks[0].memory[0], plan.ranks[0].memory[1]); },
     "plan: ranks[0] memory", "is weights (device), buffers (device), "},
    {"MemoryItemTwice", TwoRanks(),
     [](Plan& plan) { plan.ranks[0].memory.push_back(plan.ranks[0].memory.back()); },
     "plan: ranks[0] memory", "share (host), share (host)"},
};
INSTANTIATE_TEST_SUITE_P(Buffers, BrokenPlanTest, ::testing::ValuesIn(kBufferBreaks), NameOf);

std::string Refused(const Plan& plan, const JobSpec& spec) {
  const absl::Status status = CheckPlan(plan, spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  return std::string(status.message());
}

// The spec's own device binds a plan; `auto` leaves the processor to the workers.
TEST(Numerics, FollowTheSpecAndTheProcessor) {
  JobSpec spec = SmallSpec({});
  const Plan plan = CompileOrDie(spec);
  spec.device = DeviceKind::kCuda;
  EXPECT_THAT(Refused(plan, spec), StartsWith("plan: processor: is cpu, needs cuda"));
  const Plan cuda = CompileOrDie(spec);
  EXPECT_TRUE(CheckPlan(cuda, spec).ok());
  spec.device = DeviceKind::kCpu;
  EXPECT_THAT(Refused(cuda, spec), StartsWith("plan: processor: is cuda, needs cpu"));
  spec.device = DeviceKind::kAuto;
  EXPECT_TRUE(CheckPlan(cuda, spec).ok()) << CheckPlan(cuda, spec);
  EXPECT_TRUE(CheckPlan(plan, spec).ok()) << CheckPlan(plan, spec);
  spec.training.precision = PrecisionKind::kBf16;
  EXPECT_THAT(Refused(plan, spec), AllOf(StartsWith("plan: processor: "), HasSubstr("bf16")));
}

// Any one field of a spec that shapes the plan, changed under a plan that was right.
TEST(CheckPlan, RefusesThePlanOfAnotherSpec) {
  const struct {
    const char* refusal;
    void (*change)(JobSpec&);
  } cases[] = {
      {"plan: model hash", [](JobSpec& s) { s.model.vocab_size += 1; }},
      {"plan: model hash", [](JobSpec& s) { s.model.num_hidden_layers += 1; }},
      {"plan: model hash", [](JobSpec& s) { s.model.residual.streams += 1; }},
      {"plan: schedule", [](JobSpec& s) { s.parallelism.schedule = ScheduleKind::kDualPipe; }},
      {"plan: deterministic", [](JobSpec& s) { s.training.deterministic = Toggle::kFalse; }},
      {"plan: ranks", [](JobSpec& s) { s.parallelism.pipeline_parallel_degree = 3; }},
      {"plan: replicas", [](JobSpec& s) { s.parallelism.data_parallel_degree = 2; }},
      {"plan: micro-batches", [](JobSpec& s) { s.training.global_batch_size = 5; }},
      {"plan: evaluation micro-batches", [](JobSpec& s) { s.training.validation_batches = 3; }},
      {"plan: evaluation micro-batches", [](JobSpec& s) { s.training.validation_interval = 0; }},
      {"plan: tokens per micro-batch", [](JobSpec& s) { s.training.sequence_length = 8; }},
      {"plan: recompute block", [](JobSpec& s) { s.parallelism.recompute = 1; }},
      {"plan: parameters[0]", [](JobSpec& s) { s.model.init_std = 0.5; }},
  };
  const JobSpec spec = SmallSpec({});
  const Plan plan = CompileOrDie(spec);
  for (const auto& c : cases) {
    JobSpec other = spec;
    c.change(other);
    EXPECT_THAT(Refused(plan, other), StartsWith(c.refusal));
  }
}

// Stages may be cut and buckets made in any way that keeps the rules, and a plan that is larger
// than it must be is a plan: what the passes choose is not what the checker asks.
TEST(CheckPlan, AcceptsWhatTheCompilerWouldNotMake) {
  const JobSpec spec = SmallSpec({});
  Plan plan = CompileOrDie(spec);
  // A second batch for the first stage, counted in the memory.
  plan.ranks[0].buffers.push_back(plan.ranks[0].buffers[0]);
  const auto memory = MemoryByRank(plan, spec.model, MakeLayouts(spec, plan));
  plan.ranks[0].memory = memory[0];
  EXPECT_TRUE(CheckPlan(plan, spec).ok()) << CheckPlan(plan, spec);
  // Two buckets of one stage.
  plan.buckets.push_back({{plan.buckets[1].parameters.back()}, plan.buckets[1].ranks});
  plan.parameters[plan.buckets[1].parameters.back()].bucket = 2;
  plan.buckets[1].parameters.pop_back();
  EXPECT_TRUE(CheckPlan(plan, spec).ok()) << CheckPlan(plan, spec);
}

}  // namespace
}  // namespace birkhoff
