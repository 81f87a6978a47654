// The text form: a golden plan, round trips, and what it refuses.
#include "core/plan/text.h"

#include <string>

#include "core/base/disk.h"
#include "core/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::HasSubstr;

// A plan without what other rooms decide: sizes and times.
Plan WithoutSizes(Plan plan) {
  plan.predicted_step_ns = 0;
  plan.predicted_idle_share = 0.0;
  for (Channel& channel : plan.channels) {
    channel.message_bytes = 0;
    for (MessagePart& part : channel.parts) part.offset = part.bytes = 0;
  }
  for (RankPlan& rank : plan.ranks) {
    for (MemoryItem& item : rank.memory) item.bytes = 0;
    for (Buffer& buffer : rank.buffers) buffer.bytes = 0;
    for (auto* program : {&rank.train, &rank.evaluate}) {
      for (Instruction& instruction : *program) instruction.estimated_ns = 0;
    }
  }
  return plan;
}

TEST(PlanText, MatchesTheGoldenFile) {
  const Plan plan =
      WithoutSizes(CompileOrDie(SmallSpec({.schedule = ScheduleKind::kDualPipeV, .recompute = 1})));
  PosixDisk disk;
  const auto golden = disk.Read("tests/core/plan/golden_plan.txt");
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_EQ(PlanToText(plan), *golden);
}

TEST(PlanText, RoundTripsRandomPlans) {
  Rng rng(7);
  for (int i = 0; i < 40; ++i) {
    JobSpec spec = SmallSpec(RandomJob(rng, 6));
    if (i % 2 == 1) spec.device = DeviceKind::kCuda;
    const Plan plan = CompileOrDie(spec);
    const std::string text = PlanToText(plan);
    const auto parsed = PlanFromText(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(PlanToText(*parsed), text);
    EXPECT_EQ(PlanHash(*parsed), PlanHash(plan));
    for (int rank = 0; rank < plan.num_ranks; ++rank) {
      EXPECT_EQ(parsed->ranks[rank].train, plan.ranks[rank].train);
      EXPECT_EQ(parsed->ranks[rank].evaluate, plan.ranks[rank].evaluate);
      EXPECT_EQ(parsed->ranks[rank].buffers, plan.ranks[rank].buffers);
      EXPECT_EQ(parsed->ranks[rank].memory, plan.ranks[rank].memory);
    }
    EXPECT_EQ(parsed->channels, plan.channels);
    EXPECT_EQ(parsed->predicted_idle_share, plan.predicted_idle_share);
  }
}

TEST(PlanText, WritesEveryFieldOfAnInstruction) {
  Instruction instruction;
  instruction.op = Op::kBackwardInput;
  instruction.stage = 3;
  instruction.segment = {{9, 13}, Phase::kAttention};
  instruction.microbatch = 2;
  instruction.channel = 5;
  instruction.bucket = 6;
  instruction.waits = {11, 16};
  instruction.reads = {4, 9};
  instruction.fills = {12};
  instruction.estimated_ns = 77;
  EXPECT_EQ(InstructionToText(instruction),
            "backward-input stage=3 units=9:13 phase=attention microbatch=2 channel=5 bucket=6 "
            "stream=compute waits=11,16 reads=b4,b9 fills=b12 ns=77");
}

TEST(PlanHash, ChangesWithAnyField) {
  const Plan plan = CompileOrDie(SmallSpec({}));
  const std::string hash = PlanHash(plan);
  Plan other = plan;
  other.ranks[1].train[3].estimated_ns += 1;
  EXPECT_NE(PlanHash(other), hash);
  other = plan;
  other.ranks[0].buffers[0].bytes += 1;
  EXPECT_NE(PlanHash(other), hash);
  other = plan;
  other.parameters[0].spec.scale = 0.5;
  EXPECT_NE(PlanHash(other), hash);
  other = plan;
  other.parameters[0].copy = DType::kBfloat16;
  EXPECT_NE(PlanHash(other), hash);
  other = plan;
  other.channels[0].parts[0].dtype = DType::kBfloat16;
  EXPECT_NE(PlanHash(other), hash);
  other = plan;
  other.ranks[0].memory[0].bytes += 1;
  EXPECT_NE(PlanHash(other), hash);
  for (const auto& change : {+[](Plan& p) { p.precision = Precision::kBf16; },
                             +[](Plan& p) { p.processor = Processor::kCuda; },
                             +[](Plan& p) { p.deterministic = false; }}) {
    other = plan;
    change(other);
    EXPECT_NE(PlanHash(other), hash);
  }
}

TEST(ModelHash, ChangesWithTheFieldsThatShapeTensorsOnly) {
  const ModelSpec model = SmallSpec({}).model;
  ModelSpec other = model;
  other.rope_theta *= 2.0;
  other.residual.sinkhorn_iterations = 3;
  EXPECT_EQ(ModelHash(other), ModelHash(model));
  other.tie_embeddings = true;
  EXPECT_NE(ModelHash(other), ModelHash(model));
  other = model;
  other.residual.streams = 3;
  EXPECT_NE(ModelHash(other), ModelHash(model));
  other = model;
  other.residual.mapping = MappingKind::kIdentity;
  EXPECT_NE(ModelHash(other), ModelHash(model));
}

struct BadText {
  const char* find;
  const char* replace;
  const char* message;
};

TEST(PlanFromText, NamesTheLineAndWhatIsWrong) {
  const std::string text = PlanToText(CompileOrDie(SmallSpec({.microbatches = 2})));
  const BadText cases[] = {
      {"plan version=1", "plan version=2", "line 1: version: need 1"},
      {"plan version=1", "stage 0", "line 1: first line: 'stage' is not understood"},
      {"stage 1 ", "stage 2 ", "line 3: index: need 1"},
      {"units=0:3", "units=0-3", "line 2: units: '0-3' is not understood"},
      {"kind=activation", "kind=letter", "kind: 'letter' is not understood"},
      {" bytes=320", "", "field bytes is missing"},
      {"source=0", "source=zero", "source: 'zero' is not understood"},
      {"0 load", "0 fetch", "instruction: 'fetch' is not understood"},
      {"stream=copy", "stream=river", "stream: 'river' is not understood"},
      {"reads=b0", "reads=0", "reads: '0' is not understood"},
      {"fills=b0", "fills=b0 colour=red", "field: 'colour' is not understood"},
      {"stream=copy", "stream=copy loud", "field: 'loud' is not understood"},
      {"home=batch", "home=garage", "home: 'garage' is not understood"},
      {"precision=fp32", "precision=fp8", "line 1: precision: 'fp8' is not understood"},
      {"processor=cpu", "processor=abacus", "processor: 'abacus' is not understood"},
      {"parts=x:fp32", "parts=x", "parts: 'x:256' is not understood"},
      {"parts=x:fp32", "parts=x:fp7", "parts: 'fp7' is not understood"},
      {"place=device", "place=cloud", "place: 'cloud' is not understood"},
      {"memory 1 ", "memory 2 ", "index: need 1"},
  };
  for (const BadText& bad : cases) {
    std::string broken = text;
    const size_t at = broken.find(bad.find);
    ASSERT_NE(at, std::string::npos) << bad.find;
    broken.replace(at, std::string(bad.find).size(), bad.replace);
    const auto plan = PlanFromText(broken);
    EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(plan.status().message()), HasSubstr(bad.message));
  }
  EXPECT_FALSE(PlanFromText("").ok());
}

// No cut or flipped byte may crash the reader; what still parses still prints.
TEST(PlanFromText, SurvivesDamage) {
  const std::string text = PlanToText(CompileOrDie(SmallSpec({.microbatches = 2})));
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = text.substr(0, rng.Below(text.size()));
    if (damaged.empty()) continue;
    damaged[rng.Below(damaged.size())] = static_cast<char>(rng.Below(256));
    const auto plan = PlanFromText(damaged);
    if (!plan.ok()) continue;
    EXPECT_FALSE(PlanToText(*plan).empty());
  }
}

}  // namespace
}  // namespace birkhoff
