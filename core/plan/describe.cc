// Text in four parts, one function each: headline, partition, memory, and the grid with its legend.
#include "core/plan/describe.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/plan/memory.h"
#include "core/plan/ops.h"
#include "core/plan/schedule.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

// "embedding, sub-layers 0-3, head"
std::string UnitsText(const ModelSpec& model, UnitRange units) {
  std::vector<std::string> parts;
  if (units.first == 0) parts.push_back("embedding");
  const int first = std::max(units.first, 1) - 1;  // sub-layers
  const int last = std::min(units.last, NumUnits(model) - 1) - 2;
  if (first == last) parts.push_back(absl::StrCat("sub-layer ", first));
  if (first < last) parts.push_back(absl::StrCat("sub-layers ", first, "-", last));
  if (units.last == NumUnits(model)) parts.push_back("head");
  return absl::StrJoin(parts, ", ");
}

int64_t ParametersOfStage(const Plan& plan, int stage) {
  int64_t count = 0;
  for (const PlannedParameter& parameter : plan.parameters) {
    const auto& stages = parameter.stages;
    if (std::find(stages.begin(), stages.end(), stage) == stages.end()) continue;
    count += parameter.spec.NumElements();
  }
  return count;
}

std::string Headline(const Plan& plan, const JobSpec& spec) {
  const std::string recompute =
      plan.recompute_block == 0
          ? "no recompute"
          : absl::StrCat("recompute blocks of ", plan.recompute_block, " sub-layers");
  std::string text = absl::StrCat(
      spec.name, ": ", ScheduleName(plan.schedule), " on ", plan.num_ranks, " rank",
      plan.num_ranks == 1 ? "" : "s", " x ", plan.num_replicas, " replica",
      plan.num_replicas == 1 ? "" : "s", ", ", plan.num_microbatches, " micro-batches of ",
      plan.tokens_per_microbatch, " tokens, ", recompute, "; ", PrecisionName(plan.precision),
      " on ", ProcessorName(plan.processor), plan.deterministic ? ", deterministic" : "", "\n");
  absl::StrAppendFormat(&text, "predicted step time %.3f ms, idle %.1f %%; plan %s, model %s\n",
                        plan.predicted_step_ns * 1.0e-6, 100.0 * plan.predicted_idle_share,
                        PlanHash(plan), plan.model_hash);
  return text;
}

std::string PartitionTable(const Plan& plan, const ModelSpec& model) {
  std::string text = "stage  ranks     parameters  units\n";
  for (int stage = 0; stage < plan.NumStages(); ++stage) {
    absl::StrAppendFormat(
        &text, "%5d  %-8s  %10d  %s\n", stage, absl::StrJoin(plan.stages[stage].ranks, ","),
        ParametersOfStage(plan, stage), UnitsText(model, plan.stages[stage].units));
  }
  return text;
}

// The items of all ranks in the order of the first rank that has them; all have all of the device's.
std::vector<MemoryItem> ItemsOf(const Plan& plan) {
  std::vector<MemoryItem> items;
  for (const RankPlan& rank : plan.ranks) {
    for (const MemoryItem& item : rank.memory) {
      const auto known = std::find_if(items.begin(), items.end(), [&](const MemoryItem& other) {
        return other.name == item.name;
      });
      if (known == items.end()) items.push_back(item);
    }
  }
  return items;
}

template <typename Bytes>
void AppendRow(std::string* text, const Plan& plan, const char* place, const std::string& name,
               Bytes bytes) {
  absl::StrAppendFormat(text, "%-6s  %-19s", place, name);
  for (const RankPlan& rank : plan.ranks) absl::StrAppendFormat(text, "%11.2f", bytes(rank) / kMiB);
  text->push_back('\n');
}

// What the buffers are for.
struct BufferUse {
  const char* name;
  HomeSet homes;
};
constexpr BufferUse kBufferUses[] = {
    {"  stored", {Home::kInput, Home::kSaved, Home::kKept}},
    {"  messages", {Home::kOutput, Home::kGradientIn, Home::kGradientOut}},
    {"  pending", {Home::kPending}},
    {"  recompute", {Home::kRecompute}},
    {"  scratch", {Home::kScratch}},
    {"  batch", {Home::kBatch}}};

int64_t BytesOfHomes(const RankPlan& rank, HomeSet homes) {
  int64_t bytes = 0;
  for (const Buffer& buffer : rank.buffers) {
    if (homes.Has(buffer.home)) bytes += PaddedBufferBytes(buffer.bytes);
  }
  return bytes;
}

std::string MemoryTable(const Plan& plan) {
  std::string text =
      absl::StrFormat("memory of each worker in MiB, by rank\n%-27s", "place   item");
  for (size_t r = 0; r < plan.ranks.size(); ++r) absl::StrAppendFormat(&text, "%11d", r);
  text.push_back('\n');
  for (const MemoryItem& item : ItemsOf(plan)) {
    AppendRow(&text, plan, MemoryPlaceName(item.place), item.name,
              [&](const RankPlan& rank) { return BytesOf(rank, item.name.c_str()); });
    if (item.name != kBuffersItem) continue;
    for (const BufferUse& use : kBufferUses) {
      AppendRow(&text, plan, "", use.name,
                [&](const RankPlan& rank) { return BytesOfHomes(rank, use.homes); });
    }
  }
  AppendRow(&text, plan, "device", "all", DeviceBytes);
  AppendRow(&text, plan, "host", "all", HostBytes);
  return text;
}

std::string Legend(ScheduleKind kind) {
  const char* cases =
      kind == ScheduleKind::kDualPipeV
          ? "; lower case the rank's first stage, upper case its second"
          : (kind == ScheduleKind::kDualPipe ? "; lower case direction 0, upper case direction 1"
                                             : "");
  return absl::StrCat(
      "f forward, b backward, i input gradient, w weight gradient, [x+y] an "
      "overlapped pair, . idle",
      cases, "\n");
}

}  // namespace

std::string DescribePlan(const Plan& plan, const JobSpec& spec) {
  return absl::StrCat(Headline(plan, spec), "\n", PartitionTable(plan, spec.model), "\n",
                      MemoryTable(plan), "\n", PlanGrid(plan), Legend(plan.schedule));
}

}  // namespace birkhoff
