// Small specs and random plans for tests.
#pragma once

#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/plan.h"
#include "core/plan/schedule.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

// Hidden 8, 2 heads, vocabulary 16, sequences of 4 tokens, one per micro-batch.
struct SmallJob {
  ScheduleKind schedule = ScheduleKind::k1F1B;
  int ranks = 2;
  int microbatches = 4;
  int layers = 2;
  int recompute = ParallelismSpec::kRecomputeNone;
  int replicas = 1;
  bool tied = false;
};
JobSpec SmallSpec(const SmallJob& job);

// Any schedule with 1..max_ranks ranks, 2R..8R micro-batches, recompute on or off, tied or not, 1
// or 2 replicas, and a model with at least two sub-layers per rank.
SmallJob RandomJob(Rng& rng, int max_ranks);

// Every schedule on 1..max_ranks ranks with the fewest micro-batches that it runs with (1f1b: 1), one
// and two more, and twice as many and one, where dualpipe leaves out what is odd; models with as many
// layers as ranks.
std::vector<SmallJob> SmallGrid(int max_ranks);

// The compiled plan; aborts the test program if there is none.
Plan CompileOrDie(const JobSpec& spec);

// Micro-batches of a stage that a rank holds at once at most, between forward and backward.
int MostLive(const Schedule& schedule, int rank, int stage);

// Index of the first instruction of the kind, at or after `from`; aborts if there is none.
int FindOp(const std::vector<Instruction>& program, Op op, int from = 0);

}  // namespace birkhoff
