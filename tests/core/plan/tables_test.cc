// The tables before any program, each compared with a search through stages and units.
#include "core/plan/tables.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/plan/memory.h"
#include "core/spec/model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Case {
  JobSpec spec;
  Plan plan;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (SmallJob job : SmallGrid(4)) {
    for (const bool tied : {false, true}) {
      job.tied = tied;
      cases.push_back({SmallSpec(job), CompileOrDie(SmallSpec(job))});
    }
  }
  return cases;
}

// ---- Messages.

TEST(PlaceParts, PutsPartsBackToBackEachPadded) {
  std::vector<MessagePart> parts = {{"a", DType::kFloat32, 7, 0},
                                    {"b", DType::kFloat32, 7, 1},
                                    {"c", DType::kFloat32, 7, 64},
                                    {"d", DType::kFloat32, 7, 65},
                                    {"e", DType::kFloat32, 7, 4}};
  PlaceParts(&parts);
  std::vector<int64_t> offsets;
  for (const MessagePart& part : parts) offsets.push_back(part.offset);
  EXPECT_THAT(offsets, ElementsAre(0, 0, 64, 128, 256));
  EXPECT_EQ(MessageBytes(parts), 256 + 64);
  parts.clear();
  PlaceParts(&parts);
  EXPECT_EQ(MessageBytes(parts), 0);
}

// A damaged plan may say anything; what comes out is refused elsewhere, but it comes out.
TEST(PlaceParts, TakesAnyNumberOfBytes) {
  std::vector<MessagePart> parts = {{"a", DType::kFloat32, 0, std::numeric_limits<int64_t>::max()},
                                    {"b", DType::kFloat32, 0, std::numeric_limits<int64_t>::min()},
                                    {"c", DType::kFloat32, 0, -1}};
  PlaceParts(&parts);
  EXPECT_EQ(parts[0].offset, 0);
  EXPECT_EQ(parts[1].offset, std::numeric_limits<int64_t>::min()) << "2^63, in 64 bits";
  EXPECT_EQ(parts[2].offset, 0) << "2^64, in 64 bits";
}

// The parts that the maker of layouts places are where a reader of the text places them.
TEST(PartsOf, StandWhereTheirReaderPutsThem) {
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp64}) {
    for (const int64_t tokens : {1, 3, 4, 1000}) {
      Plan plan;
      plan.precision = precision;
      plan.tokens_per_microbatch = tokens;
      for (const ChannelKind kind : {ChannelKind::kActivation, ChannelKind::kGradient}) {
        const std::vector<MessagePart> parts = PartsOf(kind, SmallSpec({}).model, plan);
        std::vector<MessagePart> placed = parts;
        for (MessagePart& part : placed) part.offset = -1;
        PlaceParts(&placed);
        EXPECT_EQ(placed, parts);
        EXPECT_EQ(parts[0].bytes, tokens * 2 * 8 * SizeOf(StreamType(precision)));
        EXPECT_EQ(parts[1].bytes, tokens * 2 * 2 * SizeOf(ScalarType(precision)));
        EXPECT_EQ(parts[0].name, kind == ChannelKind::kActivation ? "x" : "dx");
      }
    }
  }
}

TEST(Channels, JoinEachPairOfNeighboursOnTwoRanksOnce) {
  for (const auto& [spec, plan] : Cases()) {
    std::set<std::tuple<int, int, int>> expected;
    for (int stage = 1; stage < plan.NumStages(); ++stage) {
      // Every micro-batch's way over this boundary, in either direction of the pipeline.
      for (int m = 0; m < plan.num_microbatches; ++m) {
        const int from = plan.RankOf(stage - 1, m, plan.num_microbatches);
        const int to = plan.RankOf(stage, m, plan.num_microbatches);
        if (from == to) continue;
        expected.insert({from, to, 0});
        expected.insert({to, from, 1});
      }
    }
    std::vector<std::tuple<int, int, int>> given;
    for (const Channel& channel : plan.channels) {
      given.push_back({channel.source, channel.destination, static_cast<int>(channel.kind)});
      EXPECT_EQ(channel.message_bytes, 256 + 64);
    }
    EXPECT_EQ(given, std::vector(expected.begin(), expected.end())) << "in this order";
  }
}

// A message fills the buffers at both its ends exactly, whatever the model and the precision.
TEST(Channels, CarryWhatTheBuffersAtTheirEndsHold) {
  Rng rng(51);
  for (int i = 0; i < 40; ++i) {
    JobSpec spec = SmallSpec(RandomJob(rng, 4));
    spec.model.residual.kind = static_cast<ResidualKind>(rng.Below(3));
    spec.model.residual.streams = 1 + static_cast<int>(rng.Below(4));
    if (rng.Below(2) == 0) spec.device = DeviceKind::kCuda;
    const Plan plan = CompileOrDie(spec);
    for (const StageLayout& layout : MakeLayouts(spec, plan)) {
      for (const Channel& channel : plan.channels) {
        const bool activation = channel.kind == ChannelKind::kActivation;
        for (const Home home : {activation ? Home::kOutput : Home::kGradientOut,
                                activation ? Home::kInput : Home::kGradientIn}) {
          if (layout.BytesOf(home) == 0) continue;
          EXPECT_EQ(layout.BytesOf(home), channel.message_bytes) << HomeName(home);
        }
      }
    }
  }
}

// ---- Parameters and buckets.

TEST(Parameters, AreThoseOfTheUnitsInTheirOrderEachOnce) {
  for (const auto& [spec, plan] : Cases()) {
    int64_t elements = 0;
    std::vector<std::string> expected, given;
    std::map<std::string, std::set<int>> stages, ranks;
    for (int stage = 0; stage < plan.NumStages(); ++stage) {
      const UnitRange units = plan.stages[stage].units;
      for (int unit = units.first; unit < units.last; ++unit) {
        for (const ParameterSpec& parameter : ParametersOfUnit(spec.model, unit)) {
          if (stages[parameter.name].empty()) expected.push_back(parameter.name);
          stages[parameter.name].insert(stage);
          ranks[parameter.name].insert(plan.stages[stage].ranks.begin(),
                                       plan.stages[stage].ranks.end());
        }
      }
    }
    for (const PlannedParameter& parameter : plan.parameters) {
      const std::string& name = parameter.spec.name;
      given.push_back(name);
      elements += parameter.spec.NumElements();
      EXPECT_EQ(parameter.stages, std::vector(stages[name].begin(), stages[name].end()));
      EXPECT_EQ(parameter.ranks, std::vector(ranks[name].begin(), ranks[name].end()));
    }
    EXPECT_EQ(given, expected);
    EXPECT_EQ(elements, NumParameters(spec.model));
  }
}

// One bucket for each set of stages; those of later stages first, tied weights by their first stage.
TEST(Buckets, HoldTheParametersOfTheSameStagesLaterOnesFirst) {
  for (const auto& [spec, plan] : Cases()) {
    std::set<std::vector<int>, std::greater<>> sets;
    for (const PlannedParameter& parameter : plan.parameters) sets.insert(parameter.stages);
    ASSERT_EQ(plan.buckets.size(), sets.size());
    size_t b = 0;
    for (const std::vector<int>& stages : sets) {
      std::vector<int> members;
      for (size_t p = 0; p < plan.parameters.size(); ++p) {
        if (plan.parameters[p].stages != stages) continue;
        members.push_back(static_cast<int>(p));
        EXPECT_EQ(plan.parameters[p].bucket, static_cast<int>(b));
        EXPECT_EQ(plan.parameters[p].ranks, plan.buckets[b].ranks);
      }
      EXPECT_EQ(plan.buckets[b].parameters, members);
      ++b;
    }
  }
}

TEST(Parameters, HaveACopyWhereProductsReadThemInAnotherType) {
  const JobSpec spec = SmallSpec({});
  Plan plan;
  plan.stages = {{{0, 6}, {0}}};
  for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kFp64}) {
    plan.precision = precision;
    MakeParameterTable(spec.model, &plan);
    for (const PlannedParameter& parameter : plan.parameters) {
      const bool product = parameter.spec.product;
      EXPECT_EQ(parameter.copy, product ? StreamType(precision) : DType::kFloat32);
      EXPECT_EQ(HasCopy(parameter), product && precision != Precision::kFp32);
    }
  }
}

TEST(Holders, TheFirstRankWrites) {
  PlannedParameter parameter;
  EXPECT_FALSE(OwnsParameter(parameter, 0)) << "nobody holds it";
  EXPECT_FALSE(HoldsParameter(parameter, 0));
  parameter.ranks = {1, 3};
  for (const auto& [rank, holds, owns] :
       {std::tuple{0, false, false}, {1, true, true}, {2, false, false}, {3, true, false}}) {
    EXPECT_EQ(HoldsParameter(parameter, rank), holds) << rank;
    EXPECT_EQ(OwnsParameter(parameter, rank), owns) << rank;
  }
}

TEST(Layouts, FollowFromPlanAndSpec) {
  JobSpec spec = SmallSpec({});
  Plan plan = CompileOrDie(spec);
  plan.recompute_block = 3;
  plan.precision = Precision::kBf16;
  plan.processor = Processor::kCuda;
  plan.deterministic = false;
  plan.tokens_per_microbatch = 12;
  const LayoutRequest request = RequestOf(spec, plan, 1);
  EXPECT_EQ(request.units, (UnitRange{3, 6}));
  EXPECT_EQ(request.recompute_block, 3);
  EXPECT_EQ(request.tokens, 12);
  EXPECT_EQ(request.sequence_length, 4);
  EXPECT_EQ(request.precision, Precision::kBf16);
  EXPECT_EQ(request.processor, Processor::kCuda);
  EXPECT_FALSE(request.deterministic);
  const std::vector<StageLayout> layouts = MakeLayouts(spec, plan);
  ASSERT_EQ(layouts.size(), 2u);
  EXPECT_EQ(layouts[1].units, request.units);
  EXPECT_THAT(layouts[0].recompute_blocks, ElementsAre(UnitRange{1, 3}));
  plan.recompute_block = 0;
  EXPECT_THAT(MakeLayouts(spec, plan)[0].recompute_blocks, IsEmpty());
}

}  // namespace
}  // namespace birkhoff
