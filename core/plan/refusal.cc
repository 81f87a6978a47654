// Two pictures of a fault: the lines around it in its program, and in the grid its word among those
// of the ranks beside it, by count of words and not by time.
#include "core/plan/refusal.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/grid.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

constexpr int kRowsAround = 2;   // neighbouring ranks that are drawn
constexpr int kWordsAround = 8;  // steps drawn on either side of the fault
constexpr int kLinesAround = 3;  // instructions listed on either side of it

const std::vector<Instruction>& ProgramOf(const Plan& plan, int rank, bool evaluates) {
  return evaluates ? plan.ranks[rank].evaluate : plan.ranks[rank].train;
}

int Microbatches(const Plan& plan, bool evaluates) {
  return evaluates ? plan.num_evaluation_microbatches : plan.num_microbatches;
}

// The compute words of a rank around word number `centre`; `mark` puts >< around that one.
std::string Row(const Plan& plan, const InstructionPlace& place, int rank, size_t centre,
                bool mark) {
  std::string row = absl::StrCat("r", rank);
  size_t number = 0;
  for (const Instruction& instruction : ProgramOf(plan, rank, place.evaluates)) {
    const std::string word = GridWord(plan, instruction, Microbatches(plan, place.evaluates));
    if (word.empty()) continue;
    const bool near = number + kWordsAround >= centre && number <= centre + kWordsAround;
    if (near) absl::StrAppend(&row, mark && number == centre ? " >" : " ", word);
    if (near && mark && number == centre) row += "<";
    ++number;
  }
  return absl::StrCat(row, "\n");
}

std::string Grid(const Plan& plan, const InstructionPlace& place) {
  const auto& program = ProgramOf(plan, place.rank, place.evaluates);
  size_t centre = 0;
  for (int i = 0; i < place.index && i < static_cast<int>(program.size()); ++i) {
    centre += !GridWord(plan, program[i], Microbatches(plan, place.evaluates)).empty();
  }
  std::string grid;
  const int first = std::max(0, place.rank - kRowsAround);
  const int last = std::min(static_cast<int>(plan.ranks.size()) - 1, place.rank + kRowsAround);
  for (int rank = first; rank <= last; ++rank) {
    grid += Row(plan, place, rank, centre, rank == place.rank);
  }
  return grid;
}

std::string Lines(const Plan& plan, const InstructionPlace& place) {
  const auto& program = ProgramOf(plan, place.rank, place.evaluates);
  const int size = static_cast<int>(program.size());
  std::string lines;
  for (int i = std::max(0, place.index - kLinesAround);
       i < std::min(size, place.index + kLinesAround + 1); ++i) {
    absl::StrAppend(&lines, i == place.index ? "> " : "  ", i, " ", InstructionToText(program[i]),
                    "\n");
  }
  return lines;
}

}  // namespace

absl::Status Refusal(const Plan& plan, const InstructionPlace& place, const std::string& reason) {
  const auto& program = ProgramOf(plan, place.rank, place.evaluates);
  const bool at_end = place.index >= static_cast<int>(program.size());
  const std::string text = at_end ? "end of program" : InstructionToText(program[place.index]);
  return absl::FailedPreconditionError(
      absl::StrCat("rank ", place.rank, place.evaluates ? " evaluate[" : " train[", place.index,
                   "] ", text, ": ", reason, "\n", Lines(plan, place), Grid(plan, place)));
}

absl::Status TableRefusal(const std::string& what, const std::string& reason) {
  return absl::FailedPreconditionError(absl::StrCat("plan: ", what, ": ", reason));
}

}  // namespace birkhoff
