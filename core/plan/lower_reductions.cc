// AddReductions: bucket by bucket the program is copied up to the bucket's last gradient, and its
// sums are put behind that.
#include <algorithm>
#include <utility>
#include <vector>

#include "core/plan/lower.h"
#include "core/plan/memory.h"
#include "core/plan/operands.h"

namespace birkhoff {
namespace {

Instruction Make(Op op, StreamKind stream, int bucket, int64_t estimated_ns) {
  Instruction instruction;
  instruction.op = op;
  instruction.stream = stream;
  instruction.bucket = bucket;
  instruction.estimated_ns = estimated_ns;
  return instruction;
}

bool Holds(const std::vector<int>& ranks, int rank) {
  return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
}

int64_t GradientBytes(const Plan& plan, const Bucket& bucket) {
  int64_t elements = 0;
  for (const int index : bucket.parameters) elements += plan.parameters[index].spec.NumElements();
  return elements * static_cast<int64_t>(sizeof(float));
}

// Index of the last instruction that adds to a gradient of the bucket, -1 for none.
int LastGradient(const Plan& plan, const Bucket& bucket, const Program& program) {
  const auto uses = [&](int stage) {
    return std::any_of(bucket.parameters.begin(), bucket.parameters.end(),
                       [&](int index) { return Holds(plan.parameters[index].stages, stage); });
  };
  std::vector<bool> used(plan.stages.size());
  for (size_t stage = 0; stage < plan.stages.size(); ++stage) {
    used[stage] = uses(static_cast<int>(stage));
  }
  for (int i = static_cast<int>(program.size()) - 1; i >= 0; --i) {
    if (ComputesWeightGradient(program[i].op) && used[program[i].stage]) return i;
  }
  return -1;
}

void AppendSums(const LowerContext& context, int bucket_index, Program* program) {
  const Bucket& bucket = context.plan.buckets[bucket_index];
  const int64_t bytes = GradientBytes(context.plan, bucket);
  const int copies = static_cast<int>(bucket.ranks.size());
  const auto add = [&](Op op, int members) {
    if (members <= 1) return;
    program->push_back(
        Make(op, StreamKind::kCollective, bucket_index, context.costs.AllReduceNs(bytes, members)));
  };
  add(Op::kExchangeCopies, copies);
  add(Op::kReduceGradient, context.plan.num_replicas);
}

}  // namespace

Program AddReductions(const LowerContext& context, int rank, bool evaluates, Program program) {
  const Plan& plan = context.plan;
  Program result;
  result.reserve(program.size() + 2 * plan.buckets.size() + 3);
  size_t copied = 0;
  const auto copy_up_to = [&](size_t end) {
    for (; copied < end; ++copied) result.push_back(std::move(program[copied]));
  };
  // The sums, each behind the gradients that it needs.
  if (!evaluates) {
    std::vector<std::pair<int, int>> ready;  // (last gradient, bucket), in ascending bucket order
    for (size_t b = 0; b < plan.buckets.size(); ++b) {
      if (!Holds(plan.buckets[b].ranks, rank)) continue;
      ready.push_back({LastGradient(plan, plan.buckets[b], program), static_cast<int>(b)});
    }
    for (const auto& [last, bucket] : ready) {
      copy_up_to(static_cast<size_t>(last) + 1);
      AppendSums(context, bucket, &result);
    }
  }
  copy_up_to(program.size());
  // The end of the step.
  const int world = plan.num_ranks * plan.num_replicas;
  const int64_t elements = context.holdings[rank].masters;
  const int64_t norm_ns = evaluates ? 0 : context.costs.NormNs(elements);
  result.push_back(
      Make(Op::kAgree, StreamKind::kCollective, -1, norm_ns + context.costs.AllReduceNs(1, world)));
  if (evaluates) return result;
  result.push_back(
      Make(Op::kOptimizer, StreamKind::kCompute, -1, context.costs.UpdateNs(elements)));
  result.push_back(Make(Op::kSnapshot, StreamKind::kCompute, -1, 0));
  return result;
}

}  // namespace birkhoff
