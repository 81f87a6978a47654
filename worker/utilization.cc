// Busy, waiting and exposed time as lengths of unions of intervals.
#include "worker/utilization.h"

#include <algorithm>

#include "core/plan/ops.h"

namespace birkhoff {
namespace {

bool IsTransfer(Op op) {
  return IsSend(op) || IsReceive(op) || op == Op::kExchangeCopies || op == Op::kReduceGradient;
}

// The parts of time that at least one interval covers, in order.
std::vector<InstructionTime> Union(std::vector<InstructionTime> intervals) {
  std::ranges::sort(intervals, {}, &InstructionTime::start_ns);
  std::vector<InstructionTime> merged;
  for (const InstructionTime& interval : intervals) {
    if (!merged.empty() && interval.start_ns <= merged.back().end_ns) {
      merged.back().end_ns = std::max(merged.back().end_ns, interval.end_ns);
    } else {
      merged.push_back(interval);
    }
  }
  return merged;
}

int64_t Length(const std::vector<InstructionTime>& merged) {
  int64_t length = 0;
  for (const InstructionTime& interval : merged) length += interval.end_ns - interval.start_ns;
  return length;
}

}  // namespace

Utilization MeasureUtilization(const std::vector<Instruction>& instructions,
                               const std::vector<InstructionTime>& times) {
  Utilization used;
  std::vector<InstructionTime> compute, both;
  for (size_t i = 0; i < times.size(); ++i) {
    const bool computes = IsCompute(instructions[i].op);
    if (!computes && !IsTransfer(instructions[i].op)) continue;
    both.push_back(times[i]);
    used.span_ns = std::max(used.span_ns, times[i].end_ns);
    if (!computes) continue;
    compute.push_back(times[i]);
    used.busy_ns += times[i].end_ns - times[i].start_ns;
    used.elapsed_ns = std::max(used.elapsed_ns, times[i].end_ns);
  }
  used.exposed_ns = Length(Union(std::move(both))) - Length(Union(std::move(compute)));
  return used;
}

}  // namespace birkhoff
