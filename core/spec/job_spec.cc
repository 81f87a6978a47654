// What follows from a job spec by arithmetic alone.
#include "core/spec/job_spec.h"

namespace birkhoff {

int MicrobatchesPerStep(const JobSpec& spec) {
  return spec.training.global_batch_size /
         (spec.training.micro_batch_size * spec.parallelism.data_parallel_degree);
}

int NumRanks(const JobSpec& spec) {
  return spec.parallelism.pipeline_parallel_degree * spec.parallelism.data_parallel_degree;
}

}  // namespace birkhoff
