// One step as its instructions ran on every rank, beside what the plan expects of it: read from
// trace.json (docs/formats.md), or from a plan alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/plan/plan.h"

namespace birkhoff {

struct TracedSpan {
  size_t row = 0;                 // of StepTimeline::rows
  double start = 0.0, end = 0.0;  // milliseconds from the start of its rank's program
  std::string op;                 // as OpName has it
  std::string words;              // "forward stage 0 micro-batch 3"
};

struct StepTimeline {
  std::vector<std::string> rows;  // "rank 0 compute"; those of a rank stand together
  std::vector<TracedSpan> spans;
};

struct StepTrace {
  int64_t step = 0;
  StepTimeline measured;  // empty: nothing is known of how a step ran
  StepTimeline planned;
};

// Marks and frees, which take no time, are left out.  Text that is no trace of ours gives an empty
// one; one without planned times has no `planned`.
StepTrace ParseTrace(std::string_view json);

// What the plan expects of any step.
StepTrace PlannedTrace(const Plan& plan);

}  // namespace birkhoff
