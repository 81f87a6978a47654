// The memory list: every number of a small case by hand, and the same list from the plan alone.
#include "core/plan/memory.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "core/plan/check.h"
#include "core/plan/compile.h"
#include "core/plan/tables.h"
#include "core/spec/model.h"
#include "core/spec/step_share.h"
#include "core/spec/workspace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<std::string> Lines(const RankPlan& rank) {
  std::vector<std::string> lines;
  for (const MemoryItem& item : rank.memory) {
    lines.push_back(std::string(MemoryPlaceName(item.place)) + " " + item.name + " " +
                    std::to_string(item.bytes));
  }
  return lines;
}

// Hidden 8, two layers, n = 2 (2n + n^2 = 8 coefficients), vocabulary 16, 4 tokens.  Elements:
//   embedding, head                       16 x 8 = 128 each
//   final norm                            8
//   attention   norm 8, qkv 16 x 8 = 128, out 8 x 8 = 64, phi 16 x 8 = 128, alpha 3, bias 8
//   ffn         norm 8, gate_up 24 x 8 = 192, down 8 x 12 = 96, phi 128, alpha 3, bias 8
// padded to 16: attention 368, ffn 464; as they are: 339, 435; operands of products: 192, 288.
constexpr int64_t kAttention = 368, kFfn = 464;
constexpr int64_t kAll = 128 + 2 * (kAttention + kFfn) + 16 + 128;
constexpr int64_t kOwned = 128 + 2 * (339 + 435) + 8 + 128;
constexpr int64_t kCopies = 128 + 2 * (192 + 288) + 128;  // multiples of 32 all of them
constexpr int kParameters = 1 + 4 * 6 + 2;
// 4 and, for each of 4 sub-layers, 3 x 4 gains, 2 matrices [2, 2] and 6 + 4 measures of mixing.
constexpr int64_t kShareRow = (4 + 4 * (12 + 8 + 10)) * 8;
constexpr int64_t kBatch = 3 * 64;  // three arrays of 4 words

TEST(Memory, OfOneCpuByHand) {
  const Plan plan = CompileOrDie(SmallSpec({.ranks = 1}));
  const RankPlan& rank = plan.ranks[0];
  int64_t buffers = 0;
  for (const Buffer& buffer : rank.buffers) buffers += buffer.bytes;
  const std::vector<std::string> expected = {
      "device buffers " + std::to_string(buffers),
      "device weights " + std::to_string(kAll * 4),
      "device gradients " + std::to_string(kAll * 4),
      "device first moments " + std::to_string(kAll * 4),
      "device second moments " + std::to_string(kAll * 4),
      "device parameter table " + std::to_string(kParameters * 72),
      "device accumulators " + std::to_string(kShareRow * 3 + 64),
      "host checkpoint snapshot " + std::to_string(kOwned * 3 * 4),
      "host token staging " + std::to_string(kBatch * 4),
      "host initial values 4194304",
      "host share " + std::to_string(kShareRow * 2)};
  EXPECT_EQ(Lines(rank), expected);
  EXPECT_EQ(WorkerBytes(plan, rank), DeviceBytes(rank) + HostBytes(rank));
  EXPECT_EQ(BytesOf(rank, "weights"), kAll * 4);
  EXPECT_EQ(BytesOf(rank, "weight copies"), 0);
}

TEST(Memory, OfOneGpuHasCopiesInBf16) {
  JobSpec spec = SmallSpec({.ranks = 1});
  spec.device = DeviceKind::kCuda;
  const Plan plan = CompileOrDie(spec);
  const RankPlan& rank = plan.ranks[0];
  EXPECT_EQ(plan.precision, Precision::kBf16);
  EXPECT_FALSE(plan.deterministic);
  EXPECT_EQ(BytesOf(rank, "weights"), kAll * 4);
  EXPECT_EQ(BytesOf(rank, "weight copies"), kCopies * 2);
  EXPECT_EQ(BytesOf(rank, "norm workspace"),
            NormWorkspaceBytes(Processor::kCuda, kParameters, kOwned));
  EXPECT_EQ(WorkerBytes(plan, rank), DeviceBytes(rank));
  for (const PlannedParameter& parameter : plan.parameters) {
    EXPECT_EQ(parameter.copy == DType::kBfloat16, parameter.spec.product) << parameter.spec.name;
  }
}

// Two replicas of a dualpipe: copies of each stage on both ranks, then the replicas.
TEST(Memory, StagesEveryGroupOnce) {
  const Plan plan = CompileOrDie(SmallSpec({.schedule = ScheduleKind::kDualPipe, .replicas = 2}));
  int64_t largest = 0;
  for (const Bucket& bucket : plan.buckets) {
    int64_t elements = 0;
    // As they stand on the device: each parameter padded to 16 elements.
    for (const int index : bucket.parameters) {
      elements += (plan.parameters[index].spec.NumElements() + 15) / 16 * 16;
    }
    largest = std::max(largest, elements);
  }
  const int64_t part = (largest + 1) / 2;  // both groups have two members
  for (const RankPlan& rank : plan.ranks) {
    EXPECT_EQ(BytesOf(rank, "all-reduce staging"), 2 * 2 * part * 4);
  }
  EXPECT_EQ(BytesOf(plan.ranks[0], "accumulators"), kShareRow * (2 + 4) + 64);
  // Whatever both ranks hold, the first writes.
  EXPECT_EQ(BytesOf(plan.ranks[0], "checkpoint snapshot"), kOwned * 3 * 4);
  EXPECT_EQ(BytesOf(plan.ranks[1], "checkpoint snapshot"), 0);
}

TEST(Memory, RandomPlansListWhatFollowsFromTheirTables) {
  Rng rng(11);
  for (int i = 0; i < 60; ++i) {
    JobSpec spec = SmallSpec(RandomJob(rng, 6));
    if (rng.Below(2) == 0) spec.device = DeviceKind::kCuda;
    if (rng.Below(3) == 0) spec.training.precision = PrecisionKind::kFp32;
    const Plan plan = CompileOrDie(spec);
    const std::vector<StageLayout> layouts = MakeLayouts(spec, plan);
    const auto memory = MemoryByRank(plan, spec.model, layouts);
    for (int rank = 0; rank < plan.num_ranks; ++rank) {
      const RankPlan& rank_plan = plan.ranks[rank];
      EXPECT_EQ(memory[rank], rank_plan.memory);
      int64_t sum = 0;
      for (const MemoryItem& item : rank_plan.memory) {
        EXPECT_GT(item.bytes, 0) << item.name;
        EXPECT_EQ(BytesOf(rank_plan, item.name.c_str()), item.bytes) << "twice " << item.name;
        sum += item.bytes;
      }
      EXPECT_EQ(sum, DeviceBytes(rank_plan) + HostBytes(rank_plan));
      // One wrong byte anywhere is refused.
      Plan broken = plan;
      const size_t at = rng.Below(rank_plan.memory.size());
      broken.ranks[rank].memory[at].bytes += rng.Below(2) == 0 ? 1 : -1;
      EXPECT_THAT(std::string(CheckPlan(broken, spec).message()),
                  AllOf(HasSubstr("memory"), HasSubstr(rank_plan.memory[at].name)));
    }
  }
}

// The table of docs/plan.md, read by somebody else: from parameters, buffers and buckets one by one.
std::vector<MemoryItem> ByTheTable(const Plan& plan, const JobSpec& spec, int rank) {
  const auto up_to = [](int64_t value, int64_t unit) {
    while (value % unit != 0) ++value;
    return value;
  };
  const auto holds = [rank](const std::vector<int>& ranks) {
    return std::count(ranks.begin(), ranks.end(), rank) > 0;
  };
  const bool cpu = plan.processor == Processor::kCpu;
  const int64_t world = plan.num_ranks * plan.num_replicas;
  int64_t buffers = 0, masters = 0, copies = 0, elements = 0, written = 0, held = 0;
  for (const Buffer& buffer : plan.ranks[rank].buffers) buffers += up_to(buffer.bytes, 64);
  for (const PlannedParameter& parameter : plan.parameters) {
    if (!holds(parameter.ranks)) continue;
    int64_t size = 1;
    for (const int64_t dimension : parameter.spec.shape) size *= dimension;
    ++held;
    elements += size;
    masters += up_to(size, 16);
    if (plan.precision == Precision::kBf16 && parameter.spec.product) copies += up_to(size, 32);
    if (*std::min_element(parameter.ranks.begin(), parameter.ranks.end()) == rank) written += size;
  }
  // Every group of ranks or replicas that this rank reduces with, and its largest bucket.
  std::map<std::vector<int>, int64_t> largest;
  int64_t largest_of_all = 0;
  for (const Bucket& bucket : plan.buckets) {
    if (!holds(bucket.ranks)) continue;
    int64_t size = 0;
    for (const int index : bucket.parameters) {
      size += up_to(plan.parameters[index].spec.NumElements(), 16);
    }
    largest[bucket.ranks] = std::max(largest[bucket.ranks], size);
    largest_of_all = std::max(largest_of_all, size);
  }
  int64_t staging = 0;
  if (plan.num_replicas > 1) staging += 4 * up_to(largest_of_all, plan.num_replicas);
  for (const auto& [ranks, size] : largest) {
    const auto members = static_cast<int64_t>(ranks.size());
    if (members > 1) staging += 4 * up_to(size, members);
  }
  const int64_t batches = std::max(plan.num_microbatches, plan.num_evaluation_microbatches);
  const int64_t tokens = 3 * up_to(4 * plan.tokens_per_microbatch, 64) * batches *
                         static_cast<int64_t>(plan.ranks[rank].stages.size());
  const int64_t steps = cpu ? 1 : 2;  // in flight
  const int64_t row = ShareLayout(spec.model).length() * 8;
  const std::vector<MemoryItem> all = {
      {"buffers", MemoryPlace::kDevice, buffers},
      {"weights", MemoryPlace::kDevice, 4 * masters},
      {"gradients", MemoryPlace::kDevice, 4 * masters},
      {"first moments", MemoryPlace::kDevice, 4 * masters},
      {"second moments", MemoryPlace::kDevice, 4 * masters},
      {"weight copies", MemoryPlace::kDevice, 2 * copies},
      {"parameter table", MemoryPlace::kDevice, 72 * held},
      {"accumulators", MemoryPlace::kDevice, row * (2 + world) + 64},
      {"norm workspace", MemoryPlace::kDevice, NormWorkspaceBytes(plan.processor, held, elements)},
      {"checkpoint snapshot", MemoryPlace::kHost, 12 * written},
      {"token staging", MemoryPlace::kHost, steps * tokens},
      {"initial values", MemoryPlace::kHost, 4 << 20},
      {"share", MemoryPlace::kHost, steps * row * (1 + world)},
      {"all-reduce staging", MemoryPlace::kHost, cpu ? staging : 0}};
  std::vector<MemoryItem> items;
  for (const MemoryItem& item : all) {
    if (item.bytes > 0) items.push_back(item);
  }
  return items;
}

TEST(Memory, IsWhatTheTableOfTheDocumentSays) {
  Rng rng(12);
  for (int i = 0; i < 80; ++i) {
    JobSpec spec = SmallSpec(RandomJob(rng, 6));
    spec.training.sequence_length = 1 + static_cast<int>(rng.Below(40));
    spec.training.validation_batches = static_cast<int>(1 + rng.Below(40));
    spec.model.hidden_size = 2 * static_cast<int>(1 + rng.Below(20));
    if (rng.Below(2) == 0) spec.device = DeviceKind::kCuda;
    const Plan plan = CompileOrDie(spec);
    for (int rank = 0; rank < plan.num_ranks; ++rank) {
      EXPECT_EQ(plan.ranks[rank].memory, ByTheTable(plan, spec, rank)) << "rank " << rank;
    }
  }
}

TEST(Memory, PadsToWholeLines) {
  EXPECT_EQ(PaddedBufferBytes(0), 0);
  EXPECT_EQ(PaddedBufferBytes(1), 64);
  EXPECT_EQ(PaddedBufferBytes(64), 64);
  EXPECT_EQ(PaddedBufferBytes(65), 128);
  EXPECT_EQ(PaddedMasterElements(0), 0);
  EXPECT_EQ(PaddedMasterElements(16), 16);
  EXPECT_EQ(PaddedMasterElements(17), 32);
  EXPECT_EQ(PaddedCopyElements(32), 32);
  EXPECT_EQ(PaddedCopyElements(33), 64);
  EXPECT_EQ(PaddedMasterElements(int64_t{1} << 60), int64_t{1} << 60);
}

TEST(Memory, OfNothingIsNothing) {
  Plan plan;
  const RankPlan rank;
  EXPECT_EQ(ArenaBytes(rank), 0);
  EXPECT_EQ(WorkerBytes(plan, rank), 0);
  EXPECT_EQ(BytesOf(rank, "buffers"), 0);
  EXPECT_TRUE(HoldingsByRank(plan).empty());
}

// What a checkpoint writes is written by one rank each, whoever else holds it.
TEST(Memory, EveryElementIsOwnedOnce) {
  for (SmallJob job : SmallGrid(4)) {
    job.tied = true;
    const JobSpec spec = SmallSpec(job);
    const Plan plan = CompileOrDie(spec);
    int64_t owned = 0;
    for (const Holding& holding : HoldingsByRank(plan)) owned += holding.owned;
    EXPECT_EQ(owned, NumParameters(spec.model)) << ScheduleName(job.schedule);
  }
}

// A GPU's own memory counts, a CPU's all; the largest items and the remedy are named.
TEST(Memory, RefusesWhatDoesNotFit) {
  for (const char* device : {"cpu", "cuda"}) {
    const JobSpec spec = SmallSpec({.ranks = 1});
    ClusterSpec cluster;
    WorkerResources& worker = cluster.workers.emplace_back();
    worker.device = device;
    const Plan plan = *CompilePlan(spec, cluster);
    const int64_t needed = WorkerBytes(plan, plan.ranks[0]);
    worker.memory_bytes = needed;
    EXPECT_TRUE(CompilePlan(spec, cluster).ok());
    worker.memory_bytes = needed - 1;
    const std::string message(CompilePlan(spec, cluster).status().message());
    EXPECT_THAT(message, HasSubstr("would need " + std::to_string(needed) + " bytes ("));
    EXPECT_THAT(message, HasSubstr("training.micro_batch_size"));
    EXPECT_EQ(message.find("initial values") != std::string::npos, std::string(device) == "cpu");
  }
}

}  // namespace
}  // namespace birkhoff
