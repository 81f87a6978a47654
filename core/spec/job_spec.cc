// What follows from a job spec by arithmetic alone.
#include "core/spec/job_spec.h"

#include <iterator>

#include "core/base/rounding.h"

namespace birkhoff {

const char* ScheduleName(ScheduleKind kind) {
  const auto index = static_cast<size_t>(kind);
  return index < std::size(kScheduleNames) ? kScheduleNames[index] : "unknown";
}

int MicrobatchesPerStep(const JobSpec& spec) {
  return spec.training.global_batch_size /
         (spec.training.micro_batch_size * spec.parallelism.data_parallel_degree);
}

int EvaluationMicrobatches(const JobSpec& spec) {
  if (spec.training.validation_interval == 0) return 0;
  const int replicas = spec.parallelism.data_parallel_degree;
  const int wanted = CeilDivide(spec.training.validation_batches, replicas);
  const bool in_pairs = spec.parallelism.schedule == ScheduleKind::kDualPipe;
  return in_pairs ? wanted + wanted % 2 : wanted;
}

int NumRanks(const JobSpec& spec) {
  return spec.parallelism.pipeline_parallel_degree * spec.parallelism.data_parallel_degree;
}

}  // namespace birkhoff
