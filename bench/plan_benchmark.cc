// How long it takes to compile (partition, schedule, passes, check, simulate) and to check a plan.
//   build/bin/plan_benchmark
#include <benchmark/benchmark.h>

#include "core/plan/check.h"
#include "core/plan/compile.h"

namespace birkhoff {
namespace {

JobSpec SpecFor(int ranks, int microbatches, ScheduleKind schedule) {
  JobSpec spec;
  spec.model.vocab_size = 257;
  spec.model.num_hidden_layers = 2 * ranks;
  spec.training.micro_batch_size = 1;
  spec.training.global_batch_size = microbatches;
  spec.parallelism.pipeline_parallel_degree = ranks;
  spec.parallelism.schedule = schedule;
  return spec;
}

void BM_Compile(benchmark::State& state) {
  const JobSpec spec = SpecFor(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)),
                               static_cast<ScheduleKind>(state.range(2)));
  for (auto _ : state) {
    const absl::StatusOr<Plan> plan = CompilePlan(spec, {});
    if (!plan.ok()) return state.SkipWithError(plan.status().ToString().c_str());
    benchmark::DoNotOptimize(plan);
  }
}

void BM_Check(benchmark::State& state) {
  const JobSpec spec = SpecFor(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)),
                               static_cast<ScheduleKind>(state.range(2)));
  const absl::StatusOr<Plan> plan = CompilePlan(spec, {});
  if (!plan.ok()) return state.SkipWithError(plan.status().ToString().c_str());
  for (auto _ : state) {
    const absl::Status status = CheckPlan(*plan, spec);
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
}

void Sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"ranks", "microbatches", "schedule"})->Unit(benchmark::kMillisecond);
  for (const int schedule : {0, 1, 2}) b->Args({8, 64, schedule});
  b->Args({64, 512, static_cast<int>(ScheduleKind::kDualPipeV)});
}
BENCHMARK(BM_Compile)->Apply(Sizes);
BENCHMARK(BM_Check)->Apply(Sizes);

}  // namespace
}  // namespace birkhoff
