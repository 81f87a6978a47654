// Edits keep all other order, so that each break is the only one.
#include "tests/core/plan/plan_breaks.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/base/check.h"
#include "core/plan/ops.h"

namespace birkhoff {
namespace {

bool SameStream(const Instruction& a, const Instruction& b) {
  return a.stream == b.stream && (a.stream != StreamKind::kChannel || a.channel == b.channel);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Break& broken) { return out << broken.name; }

std::string NameOf(const ::testing::TestParamInfo<Break>& test) { return test.param.name; }

SmallJob TwoRanks() { return {}; }
SmallJob Vee() { return {.schedule = ScheduleKind::kDualPipeV, .ranks = 2, .microbatches = 4}; }
SmallJob Recomputing() { return {.recompute = 2}; }
SmallJob Exchanging() {
  return {.schedule = ScheduleKind::kDualPipe, .ranks = 2, .microbatches = 4, .replicas = 2};
}
SmallJob Alone() { return {.ranks = 1, .microbatches = 1}; }
SmallJob UnitByUnit() { return {.ranks = 6, .microbatches = 2, .layers = 2}; }

std::vector<Instruction>& Train(Plan& plan, int rank) { return plan.ranks[rank].train; }
std::vector<Instruction>& Evaluate(Plan& plan, int rank) { return plan.ranks[rank].evaluate; }

int FindCell(const std::vector<Instruction>& program, Op op, int stage, int microbatch) {
  int at = FindOp(program, op);
  while (program[at].stage != stage || program[at].microbatch != microbatch) {
    at = FindOp(program, op, at + 1);
  }
  return at;
}

Instruction& First(std::vector<Instruction>& program, Op op) {
  return program[FindOp(program, op)];
}

Instruction& Last(std::vector<Instruction>& program, Op op) {
  const auto found = std::find_if(program.rbegin(), program.rend(),
                                  [op](const Instruction& i) { return i.op == op; });
  BIRKHOFF_CHECK(found != program.rend(), OpName(op));
  return *found;
}

void AddWait(Instruction& instruction, int wait) {
  auto& waits = instruction.waits;
  const auto at = std::lower_bound(waits.begin(), waits.end(), wait);
  if (at == waits.end() || *at != wait) waits.insert(at, wait);
}

void Drop(std::vector<Instruction>& program, int index) {
  const Instruction dropped = program[index];
  int before = index - 1, after = index + 1;
  while (before >= 0 && !SameStream(program[before], dropped)) --before;
  while (after < static_cast<int>(program.size()) && !SameStream(program[after], dropped)) ++after;
  for (Instruction& instruction : program) {
    if (std::erase(instruction.waits, index) > 0 && before >= 0) AddWait(instruction, before);
  }
  for (const int wait : dropped.waits) {
    if (after < static_cast<int>(program.size())) AddWait(program[after], wait);
  }
  program.erase(program.begin() + index);
  for (Instruction& instruction : program) {
    for (int& wait : instruction.waits) wait -= wait > index;
  }
}

void DropFirst(std::vector<Instruction>& program, Op op) { Drop(program, FindOp(program, op)); }

void Insert(std::vector<Instruction>& program, int index, Instruction added) {
  for (Instruction& instruction : program) {
    for (int& wait : instruction.waits) wait += wait >= index;
  }
  program.insert(program.begin() + index, std::move(added));
}

void Repeat(std::vector<Instruction>& program, int index) {
  Insert(program, index + 1, program[index]);
}

}  // namespace birkhoff
