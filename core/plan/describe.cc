#include "core/plan/describe.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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
  std::string text =
      absl::StrCat(spec.name, ": ", ScheduleName(plan.schedule), " on ", plan.num_ranks, " rank",
                   plan.num_ranks == 1 ? "" : "s", " x ", plan.num_replicas, " replica",
                   plan.num_replicas == 1 ? "" : "s", ", ", plan.num_microbatches,
                   " micro-batches of ", plan.tokens_per_microbatch, " tokens, ", recompute, "\n");
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

// Bytes of a rank's buffers of the given homes.
int64_t BytesOf(const RankPlan& rank, std::initializer_list<Home> homes) {
  int64_t bytes = 0;
  for (const Buffer& buffer : rank.buffers) {
    if (std::find(homes.begin(), homes.end(), buffer.home) != homes.end()) bytes += buffer.bytes;
  }
  return bytes;
}

std::string MemoryTable(const Plan& plan) {
  std::string text =
      "memory of each worker in MiB (weights, gradients and two moments are one quarter of the "
      "state each)\n"
      "rank     state    stored  messages   pending  recompute  scratch    batch     total\n";
  for (size_t r = 0; r < plan.ranks.size(); ++r) {
    const RankPlan& rank = plan.ranks[r];
    const int64_t kinds[] = {rank.parameter_bytes,
                             BytesOf(rank, {Home::kInput, Home::kSaved, Home::kKept}),
                             BytesOf(rank, {Home::kOutput, Home::kGradientIn, Home::kGradientOut}),
                             BytesOf(rank, {Home::kPending}),
                             BytesOf(rank, {Home::kRecompute}),
                             BytesOf(rank, {Home::kScratch}),
                             BytesOf(rank, {Home::kBatch})};
    absl::StrAppendFormat(&text, "%4d", r);
    for (const int64_t bytes : kinds) absl::StrAppendFormat(&text, "%10.2f", bytes / kMiB);
    absl::StrAppendFormat(&text, "%10.2f\n",
                          (rank.parameter_bytes + rank.peak_buffer_bytes) / kMiB);
  }
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
