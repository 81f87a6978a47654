// A replay, added up: compute against all that the ranks have until the last of them has agreed.
#include "core/plan/simulate.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "core/plan/operands.h"

namespace birkhoff {

absl::StatusOr<Simulation> SimulateTrain(const Plan& plan) {
  Simulation simulation;
  simulation.replay = ReplayProgram(plan, &RankPlan::train);
  if (!simulation.replay.complete) {
    return absl::FailedPreconditionError("the train program hangs");
  }
  int64_t busy_ns = 0, agreed_ns = 0;
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const std::vector<Instruction>& program = plan.ranks[rank].train;
    for (size_t i = 0; i < program.size(); ++i) {
      const int64_t end_ns = simulation.replay.end_ns[rank][i];
      simulation.makespan_ns = std::max(simulation.makespan_ns, end_ns);
      if (IsCompute(program[i].op)) busy_ns += program[i].estimated_ns;
      if (program[i].op == Op::kAgree) agreed_ns = std::max(agreed_ns, end_ns);
    }
  }
  const double available = static_cast<double>(agreed_ns) * static_cast<double>(plan.ranks.size());
  simulation.idle_share = available > 0.0 ? 1.0 - static_cast<double>(busy_ns) / available : 0.0;
  return simulation;
}

}  // namespace birkhoff
