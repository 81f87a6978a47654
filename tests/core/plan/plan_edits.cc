// Four kinds of edit.  Waits are indices, so all but retargeting go through the waits of the whole
// program.
#include "tests/core/plan/plan_edits.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

using Program = std::vector<Instruction>;

int Pick(Rng& rng, size_t count) { return static_cast<int>(rng.Below(count)); }

bool SameStream(const Instruction& a, const Instruction& b) {
  return a.stream == b.stream && (a.stream != StreamKind::kChannel || a.channel == b.channel);
}

void Normalise(std::vector<int>& waits) {
  std::sort(waits.begin(), waits.end());
  waits.erase(std::unique(waits.begin(), waits.end()), waits.end());
}

std::string Drop(Program& program, int index, bool keep_order) {
  const Instruction dropped = program[index];
  int before = index - 1, after = index + 1;
  while (before >= 0 && !SameStream(program[before], dropped)) --before;
  while (after < static_cast<int>(program.size()) && !SameStream(program[after], dropped)) ++after;
  if (keep_order && after < static_cast<int>(program.size())) {
    auto& waits = program[after].waits;
    waits.insert(waits.end(), dropped.waits.begin(), dropped.waits.end());
    Normalise(waits);
  }
  for (Instruction& instruction : program) {
    if (std::erase(instruction.waits, index) == 0 || !keep_order || before < 0) continue;
    instruction.waits.push_back(before);
    Normalise(instruction.waits);
  }
  program.erase(program.begin() + index);
  for (Instruction& instruction : program) {
    for (int& wait : instruction.waits) wait -= wait > index;
  }
  return absl::StrCat("drops [", index, "] ", InstructionToText(dropped));
}

std::string Duplicate(Program& program, int index, Rng& rng) {
  const Instruction copy = program[index];
  const int at = index + 1 + Pick(rng, program.size() - index);
  for (Instruction& instruction : program) {
    for (int& wait : instruction.waits) wait += wait >= at;
  }
  program.insert(program.begin() + at, copy);
  return absl::StrCat("repeats [", index, "] ", InstructionToText(copy), " at ", at);
}

// Two instructions trade places; everybody waits for the same instruction as before.
std::string Swap(Program& program, int index, Rng& rng) {
  const int size = static_cast<int>(program.size());
  const bool neighbour = rng.Below(4) != 0;
  const int other = neighbour ? (index + 1 < size ? index + 1 : index - 1) : Pick(rng, size);
  for (Instruction& instruction : program) {
    for (int& wait : instruction.waits) {
      wait = wait == index ? other : (wait == other ? index : wait);
    }
    std::sort(instruction.waits.begin(), instruction.waits.end());
  }
  std::swap(program[index], program[other]);
  return absl::StrCat("swaps [", index, "] and [", other, "] ", InstructionToText(program[index]));
}

// Another value than the one given, in [0, count).
int Another(int value, size_t count, Rng& rng) {
  if (count < 2) return static_cast<int>(count);
  const int other = Pick(rng, count - 1);
  return other + (other >= value);
}

void RetargetBuffer(std::vector<int>& buffers, size_t num_buffers, Rng& rng) {
  if (buffers.empty()) return;
  int& buffer = buffers[rng.Below(buffers.size())];
  buffer = Another(buffer, num_buffers, rng);
}

void RetargetWait(std::vector<int>& waits, int index, Rng& rng) {
  const bool drops = rng.Below(2) == 0;
  if (drops && !waits.empty()) waits.erase(waits.begin() + Pick(rng, waits.size()));
  if (!drops && index > 0) waits.push_back(Pick(rng, static_cast<size_t>(index)));
  Normalise(waits);
}

std::string Retarget(const Plan& plan, const RankPlan& rank, Program& program, int index,
                     Rng& rng) {
  Instruction& instruction = program[index];
  const std::string before = InstructionToText(instruction);
  switch (rng.Below(10)) {
    case 0:
    case 1:
      RetargetBuffer(instruction.reads, rank.buffers.size(), rng);
      break;
    case 2:
      RetargetBuffer(instruction.fills, rank.buffers.size(), rng);
      break;
    case 3:
      instruction.microbatch = Another(instruction.microbatch, plan.num_microbatches, rng);
      break;
    case 4:
      instruction.stage = Another(instruction.stage, plan.stages.size(), rng);
      break;
    case 5:
      instruction.channel = Another(instruction.channel, plan.channels.size(), rng);
      break;
    case 6:
      instruction.stream =
          static_cast<StreamKind>(Another(static_cast<int>(instruction.stream), 5, rng));
      break;
    case 7:
      (rng.Below(2) == 0 ? instruction.segment.units.first : instruction.segment.units.last) +=
          rng.Below(2) == 0 ? 1 : -1;
      break;
    case 8:
      instruction.op = static_cast<Op>(1 + Another(static_cast<int>(instruction.op) - 1, 20, rng));
      break;
    default:
      RetargetWait(instruction.waits, index, rng);
  }
  return absl::StrCat("turns [", index, "] ", before, " into ", InstructionToText(instruction));
}

}  // namespace

std::string EditPlan(Plan& plan, Rng& rng) {
  const int r = Pick(rng, plan.ranks.size());
  RankPlan& rank = plan.ranks[r];
  const bool evaluates = !rank.evaluate.empty() && rng.Below(5) == 0;
  Program& program = evaluates ? rank.evaluate : rank.train;
  const int index = Pick(rng, program.size());
  std::string what;
  switch (rng.Below(4)) {
    case 0:
      what = Drop(program, index, rng.Below(2) == 0);
      break;
    case 1:
      what = Duplicate(program, index, rng);
      break;
    case 2:
      what = Swap(program, index, rng);
      break;
    default:
      what = Retarget(plan, rank, program, index, rng);
  }
  return absl::StrCat("rank ", r, evaluates ? " evaluate " : " train ", what);
}

}  // namespace birkhoff
