// One tiny model for every plan; random jobs keep to what schedules ask for: an even number of
// ranks for dualpipe, at least two micro-batches a rank.
#include "tests/core/plan/plan_testing.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/plan/compile.h"

namespace birkhoff {

JobSpec SmallSpec(const SmallJob& job) {
  JobSpec spec;
  spec.model.vocab_size = 16;
  spec.model.hidden_size = 8;
  spec.model.num_hidden_layers = job.layers;
  spec.model.num_attention_heads = 2;
  spec.model.num_key_value_heads = 1;
  spec.model.intermediate_size = 12;
  spec.model.tie_embeddings = job.tied;
  spec.model.residual.streams = 2;
  spec.training.sequence_length = 4;
  spec.training.micro_batch_size = 1;
  spec.training.global_batch_size = job.microbatches * job.replicas;
  spec.training.validation_batches = 2;
  spec.parallelism.pipeline_parallel_degree = job.ranks;
  spec.parallelism.data_parallel_degree = job.replicas;
  spec.parallelism.schedule = job.schedule;
  spec.parallelism.recompute = job.recompute;
  return spec;
}

SmallJob RandomJob(Rng& rng, int max_ranks) {
  SmallJob job;
  job.schedule = static_cast<ScheduleKind>(rng.Below(3));
  job.ranks = 1 + static_cast<int>(rng.Below(static_cast<uint64_t>(max_ranks)));
  if (job.schedule == ScheduleKind::kDualPipe) job.ranks = std::max(2, job.ranks / 2 * 2);
  job.microbatches = job.ranks * (2 + static_cast<int>(rng.Below(7)));
  job.layers = job.ranks + static_cast<int>(rng.Below(3));
  job.recompute = rng.Below(2) == 0 ? 0 : 1 + static_cast<int>(rng.Below(3));
  job.replicas = 1 + static_cast<int>(rng.Below(2));
  job.tied = rng.Below(2) == 0;
  return job;
}

std::vector<SmallJob> SmallGrid(int max_ranks) {
  std::vector<SmallJob> jobs;
  for (const ScheduleKind kind :
       {ScheduleKind::k1F1B, ScheduleKind::kDualPipeV, ScheduleKind::kDualPipe}) {
    const bool even = kind == ScheduleKind::kDualPipe;
    for (int ranks = 1; ranks <= max_ranks; ++ranks) {
      const int fewest = kind == ScheduleKind::k1F1B ? 1 : 2 * ranks;
      for (const int microbatches : {fewest, fewest + 1, fewest + 2, 2 * fewest + 1}) {
        if (even && (ranks % 2 != 0 || microbatches % 2 != 0)) continue;
        jobs.push_back(
            {.schedule = kind, .ranks = ranks, .microbatches = microbatches, .layers = ranks});
      }
    }
  }
  return jobs;
}

Plan CompileOrDie(const JobSpec& spec) {
  auto plan = CompilePlan(spec, {});
  BIRKHOFF_CHECK(plan.ok(), std::string(plan.status().message()).c_str());
  return *std::move(plan);
}

int MostLive(const Schedule& schedule, int rank, int stage) {
  int live = 0, most = 0;
  for (const ScheduledOp& op : schedule.ranks[rank]) {
    if (op.stage != stage) continue;
    live += op.op == Op::kForward;
    most = std::max(most, live);
    live -= op.op == Op::kBackward || op.op == Op::kBackwardInput;
  }
  return most;
}

int FindOp(const std::vector<Instruction>& program, Op op, int from) {
  for (int i = from; i < static_cast<int>(program.size()); ++i) {
    if (program[i].op == op) return i;
  }
  BIRKHOFF_CHECK(false, OpName(op));
  return -1;
}

}  // namespace birkhoff
