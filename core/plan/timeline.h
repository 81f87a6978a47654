// When the steps of a schedule run, before any pass: what the schedule alone makes possible.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/schedule.h"

namespace birkhoff {

// Any unit of time.  Messages to another rank take `transfer` and as many as wanted travel at once.
struct TimelineCosts {
  std::vector<int64_t> forward, backward_input, backward_weight;  // by stage
  int64_t transfer = 0;
  // False: a forward's output leaves when the forward ends, an input gradient before its weight
  // gradient, also inside pairs and full backwards.  True: both leave at the end of the pair or of
  // the full backward.
  bool atomic = false;
};

struct Timeline {
  bool complete = false;                    // false: some step waits for ever
  std::vector<std::vector<int64_t>> start;  // [rank][op]; markers too
  std::vector<std::vector<int64_t>> end;
  int64_t makespan = 0;
  double idle_share = 0.0;  // 1 - work / (makespan x ranks)
};

Timeline TimeSchedule(const Schedule& schedule, const TimelineCosts& costs);

// Every stage alike: one unit each.
TimelineCosts UnitCosts(const Schedule& schedule);

}  // namespace birkhoff
