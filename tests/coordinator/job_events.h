// Short names for the events of a job of two ranks on workers/w0 and workers/w1.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/job_event.h"

namespace birkhoff {

// Two ranks; at most two lost attempts in a row.
inline JobSpec TwoRanks(const std::string& name = "tiny") {
  JobSpec spec;
  spec.name = name;
  spec.parallelism.pipeline_parallel_degree = 2;
  spec.parallelism.data_parallel_degree = 1;
  spec.stability.max_restarts = 2;
  return spec;
}

inline JobCreated Created() {
  JobCreated created;
  created.spec = std::make_shared<const JobSpec>(TwoRanks());
  created.output_directory = "runs/tiny";
  return created;
}
inline AttemptPlaced Placed(int attempt) {
  const uint64_t life = 100 + attempt;
  return {attempt, {{"workers/w0", life}, {"workers/w1", life}}, "plan-1", "cpu;cpu;"};
}
inline RankReady Ready(int attempt, int rank) { return {"jobs/tiny", attempt, rank, 0, ""}; }
inline StepDone Stepped(int attempt, int rank, int64_t step) {
  StepDone done{"jobs/tiny", attempt, rank, {}};
  done.report.step = step;
  done.report.loss = 4.0;
  return done;
}
inline ShardDurable Durable(int attempt, int rank, int64_t step) {
  return {"jobs/tiny", attempt, rank, step, absl::StrCat("rank-", rank, ".shard"), "cafe", 64};
}
inline CheckpointCommitted Committed(int attempt, int64_t step) {
  return {"jobs/tiny", attempt, step, absl::StrCat("runs/tiny/checkpoints/", step), "beef"};
}
inline RankExited Exited(int attempt, int rank, ExitCode code) {
  return {"jobs/tiny", attempt, rank, code, "it ended"};
}

}  // namespace birkhoff
