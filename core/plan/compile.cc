// Recompute on auto: without it, and where that does not fit the smallest worker, with each of a
// few block lengths, of which the best is kept.
#include "core/plan/compile.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/plan/check.h"
#include "core/plan/lower.h"
#include "core/plan/memory.h"
#include "core/plan/partition.h"
#include "core/plan/recompute.h"
#include "core/plan/schedule.h"
#include "core/plan/simulate.h"
#include "core/plan/tables.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

constexpr size_t kItemsNamed = 3;  // of memory, where it does not fit

// Everything but the programs and the memory that they need.
absl::StatusOr<Plan> MakeTables(const JobSpec& spec, const Numerics& numerics,
                                const CostModel& costs) {
  if (spec.model.vocab_size <= 0) {
    return absl::InvalidArgumentError(
        "model.vocab_size: 0 is not allowed here; need the tokenizer's size (resolve the "
        "vocabulary first)");
  }
  const ParallelismSpec& parallelism = spec.parallelism;
  Plan plan;
  plan.model_hash = ModelHash(spec.model);
  plan.precision = numerics.precision;
  plan.processor = numerics.processor;
  plan.deterministic = numerics.deterministic;
  plan.schedule = parallelism.schedule;
  plan.num_ranks = parallelism.pipeline_parallel_degree;
  plan.num_replicas = parallelism.data_parallel_degree;
  plan.num_microbatches = MicrobatchesPerStep(spec);
  plan.num_evaluation_microbatches = EvaluationMicrobatches(spec);
  plan.tokens_per_microbatch =
      int64_t{spec.training.micro_batch_size} * spec.training.sequence_length;
  RETURN_IF_ERROR(CheckScheduleLimits(plan.schedule, plan.num_ranks, plan.num_microbatches));
  ASSIGN_OR_RETURN(const std::vector<UnitRange> ranges,
                   PartitionUnits(costs.UnitTotals(), plan.schedule, plan.num_ranks));
  const std::vector<std::vector<int>> holders = PlaceStages(plan.schedule, plan.num_ranks);
  plan.ranks.resize(plan.num_ranks);
  for (size_t stage = 0; stage < ranges.size(); ++stage) {
    plan.stages.push_back({ranges[stage], holders[stage]});
    for (const int rank : holders[stage]) {
      plan.ranks[rank].stages.push_back(static_cast<int>(stage));
    }
  }
  plan.channels = MakeChannels(spec.model, plan);
  MakeParameterTable(spec.model, &plan);
  return plan;
}

// Runs all passes over every rank of a plan that has its tables.
absl::StatusOr<Plan> Lower(const JobSpec& spec, const CostModel& costs, Plan plan) {
  const std::vector<StageLayout> layouts = MakeLayouts(spec, plan);
  const std::vector<Holding> holdings = HoldingsByRank(plan);
  const LowerContext context{plan, costs, layouts, holdings};
  ASSIGN_OR_RETURN(const Schedule train,
                   MakeSchedule(plan.schedule, plan.num_ranks, plan.num_microbatches));
  const Schedule evaluate =
      MakeForwardSchedule(plan.schedule, plan.num_ranks, plan.num_evaluation_microbatches);
  const auto lower = [&](const Schedule& schedule, int rank, bool evaluates) {
    Program program = LowerCompute(context, schedule, rank);
    program = AddTransfers(context, schedule, rank, std::move(program));
    return AddReductions(context, rank, evaluates, std::move(program));
  };
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    RankPlan& rank_plan = plan.ranks[rank];
    rank_plan.train = lower(train, rank, /*evaluates=*/false);
    if (plan.num_evaluation_microbatches > 0) {
      rank_plan.evaluate = lower(evaluate, rank, /*evaluates=*/true);
    }
    AssignBuffers(context, &rank_plan);
  }
  auto memory = MemoryByRank(plan, spec.model, layouts);
  for (int rank = 0; rank < plan.num_ranks; ++rank) {
    plan.ranks[rank].memory = std::move(memory[rank]);
  }
  return plan;
}

// ---- Recompute blocks.

// Bytes that the smallest worker offers, 0: unknown.
int64_t MemoryLimit(const ClusterSpec& cluster) {
  int64_t limit = 0;
  for (const WorkerResources& worker : cluster.workers) {
    if (worker.memory_bytes <= 0) continue;
    limit = limit == 0 ? worker.memory_bytes : std::min(limit, worker.memory_bytes);
  }
  return limit;
}

const RankPlan& FullestRank(const Plan& plan) {
  return *std::max_element(plan.ranks.begin(), plan.ranks.end(),
                           [&plan](const RankPlan& a, const RankPlan& b) {
                             return WorkerBytes(plan, a) < WorkerBytes(plan, b);
                           });
}

bool Fits(const Plan& plan, int64_t limit) {
  return limit == 0 || WorkerBytes(plan, FullestRank(plan)) <= limit;
}

// "buffers 16 MiB, weights 2 MiB, gradients 2 MiB"
std::string LargestItems(const Plan& plan, const RankPlan& rank) {
  std::vector<MemoryItem> items;
  for (const MemoryItem& item : rank.memory) {
    if (item.place == MemoryPlace::kDevice || plan.processor == Processor::kCpu) {
      items.push_back(item);
    }
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const MemoryItem& a, const MemoryItem& b) { return a.bytes > b.bytes; });
  items.resize(std::min(items.size(), kItemsNamed));
  return absl::StrJoin(items, ", ", [](std::string* out, const MemoryItem& item) {
    absl::StrAppend(out, item.name, " ", item.bytes);
  });
}

absl::Status CheckFits(const Plan& plan, int64_t limit) {
  if (Fits(plan, limit)) return absl::OkStatus();
  const RankPlan& rank = FullestRank(plan);
  return absl::FailedPreconditionError(
      absl::StrCat("memory: the fullest worker would need ", WorkerBytes(plan, rank), " bytes (",
                   LargestItems(plan, rank), "); the smallest has ", limit,
                   " (lower training.micro_batch_size or training.sequence_length, raise "
                   "parallelism.pipeline_parallel_degree",
                   plan.recompute_block == 0 ? ", or set parallelism.recompute to auto)" : ")"));
}

// Simulates the plan and keeps what was predicted.
absl::Status Predict(Plan* plan) {
  ASSIGN_OR_RETURN(const Simulation simulation, SimulateTrain(*plan));
  plan->predicted_step_ns = simulation.makespan_ns;
  plan->predicted_idle_share = simulation.idle_share;
  return absl::OkStatus();
}

// Of the plans that fit the fastest; of equally fast ones, and where none fits, the smallest.
bool IsBetter(const Plan& a, const Plan& b, int64_t limit) {
  const auto rank = [limit](const Plan& plan) {
    const bool fits = Fits(plan, limit);
    return std::tuple(!fits, fits ? plan.predicted_step_ns : 0,
                      WorkerBytes(plan, FullestRank(plan)));
  };
  return rank(a) < rank(b);
}

absl::StatusOr<Plan> LowerWithRecompute(const JobSpec& spec, const ClusterSpec& cluster,
                                        const Numerics& numerics, const CostModel& costs) {
  ASSIGN_OR_RETURN(const Plan tables, MakeTables(spec, numerics, costs));
  const auto lower = [&](int recompute_block) -> absl::StatusOr<Plan> {
    Plan plan = tables;
    plan.recompute_block = recompute_block;
    ASSIGN_OR_RETURN(plan, Lower(spec, costs, std::move(plan)));
    RETURN_IF_ERROR(Predict(&plan));
    return plan;
  };
  const int64_t limit = MemoryLimit(cluster);
  const bool automatic = spec.parallelism.recompute == ParallelismSpec::kRecomputeAuto;
  ASSIGN_OR_RETURN(Plan plan, lower(automatic ? 0 : spec.parallelism.recompute));
  if (automatic && !Fits(plan, limit)) {
    const std::vector<int> blocks = RecomputeBlocksToTry(spec, plan);
    ASSIGN_OR_RETURN(plan, lower(blocks.front()));
    for (size_t i = 1; i < blocks.size(); ++i) {
      ASSIGN_OR_RETURN(Plan other, lower(blocks[i]));
      if (IsBetter(other, plan, limit)) plan = std::move(other);
    }
  }
  RETURN_IF_ERROR(CheckFits(plan, limit));
  return plan;
}

}  // namespace

absl::StatusOr<Plan> CompilePlan(const JobSpec& spec, const ClusterSpec& cluster) {
  ASSIGN_OR_RETURN(const Processor processor, ProcessorOf(spec, cluster));
  ASSIGN_OR_RETURN(const Numerics numerics, ResolveNumerics(spec, processor));
  const CostModel costs(spec, cluster, numerics);
  ASSIGN_OR_RETURN(Plan plan, LowerWithRecompute(spec, cluster, numerics, costs));
  if (absl::Status status = CheckPlan(plan, spec); !status.ok()) {
    return absl::InternalError(absl::StrCat("the compiled plan was refused: ", status.message()));
  }
  return plan;
}

}  // namespace birkhoff
