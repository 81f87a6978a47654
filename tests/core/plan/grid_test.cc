// Grids read back: every word, every idle unit and every pair stands where the timeline says.
#include "core/plan/grid.h"

#include <cctype>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/plan/ops.h"
#include "core/plan/refusal.h"
#include "core/plan/text.h"
#include "core/plan/timeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/plan/plan_testing.h"

namespace birkhoff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A word of a row with the time at which it stands.
struct Placed {
  std::string word;  // "F4", "[", "]"
  int64_t at = 0;
  friend bool operator==(const Placed&, const Placed&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Placed& placed) {
    return out << placed.word << "@" << placed.at;
  }
};

// Character by character: a dot is a unit, b two, other letters one.
std::vector<Placed> ReadRow(const std::string& row) {
  std::vector<Placed> placed;
  int64_t clock = 0;
  size_t at = row.find(' ') + 1;  // behind "r0"
  while (at < row.size()) {
    const char c = row[at++];
    if (c == '.') ++clock;
    if (c == '[' || c == ']') placed.push_back({std::string(1, c), clock});
    if (std::isalpha(static_cast<unsigned char>(c)) == 0) continue;
    std::string word(1, c);
    while (at < row.size() && std::isdigit(static_cast<unsigned char>(row[at])) != 0) {
      word += row[at++];
    }
    placed.push_back({word, clock});
    clock += c == 'b' || c == 'B' ? 2 : 1;
  }
  return placed;
}

// By the header of grid.h.
std::string WordOf(const Schedule& schedule, const ScheduledOp& op) {
  static const std::map<Op, char> letters = {{Op::kForward, 'f'},       {Op::kBackward, 'b'},
                                             {Op::kBackwardInput, 'i'}, {Op::kBackwardWeight, 'w'},
                                             {Op::kOverlapBegin, '['},  {Op::kOverlapEnd, ']'}};
  const char letter = letters.at(op.op);
  if (op.stage < 0) return std::string(1, letter);
  bool upper = false;
  int number = op.microbatch;
  if (schedule.kind == ScheduleKind::kDualPipeV) upper = op.stage >= schedule.NumRanks();
  if (schedule.kind == ScheduleKind::kDualPipe && op.microbatch >= schedule.num_microbatches / 2) {
    upper = true;
    number -= schedule.num_microbatches / 2;
  }
  return absl::StrCat(std::string(1, upper ? static_cast<char>(std::toupper(letter)) : letter),
                      number);
}

void ExpectGrid(const Schedule& schedule, bool atomic, const std::string& grid) {
  TimelineCosts costs = UnitCosts(schedule);
  costs.atomic = atomic;
  const Timeline timeline = TimeSchedule(schedule, costs);
  const std::vector<std::string> rows = absl::StrSplit(grid, '\n', absl::SkipEmpty());
  ASSERT_EQ(rows.size(), schedule.ranks.size());
  for (size_t rank = 0; rank < rows.size(); ++rank) {
    EXPECT_EQ(rows[rank].find(absl::StrCat("r", rank, " ")), 0u);
    std::vector<Placed> expected;
    for (size_t i = 0; i < schedule.ranks[rank].size(); ++i) {
      const ScheduledOp& op = schedule.ranks[rank][i];
      expected.push_back({WordOf(schedule, op), timeline.start[rank][i]});
    }
    EXPECT_EQ(ReadRow(rows[rank]), expected) << rows[rank];
  }
}

TEST(ScheduleGrid, ReadsBackToTheTimeline) {
  for (const SmallJob& job : SmallGrid(6)) {
    const Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
    for (const bool atomic : {false, true}) {
      ExpectGrid(schedule, atomic, ScheduleGrid(schedule, atomic));
    }
  }
}

// A plan is drawn as its schedule with early sends, whatever the passes made of its backwards; an
// input gradient directly before its own weight gradient is one backward.
TEST(PlanGrid, IsTheGridOfItsSchedule) {
  for (SmallJob job : SmallGrid(4)) {
    for (const int recompute : {0, 1, 2}) {
      job.recompute = recompute;
      job.layers = job.ranks + 1;
      Schedule schedule = *MakeSchedule(job.schedule, job.ranks, job.microbatches);
      for (auto& ops : schedule.ranks) {
        for (size_t i = 1; i < ops.size(); ++i) {
          const ScheduledOp input{Op::kBackwardInput, ops[i].stage, ops[i].microbatch};
          if (ops[i].op != Op::kBackwardWeight || !(ops[i - 1] == input)) continue;
          ops[i - 1].op = Op::kBackward;
          ops.erase(ops.begin() + static_cast<int>(i));
        }
      }
      const Plan plan = CompileOrDie(SmallSpec(job));
      ExpectGrid(schedule, /*atomic=*/false, PlanGrid(plan));
    }
  }
}

TEST(ScheduleGrid, OfNothingHasEmptyRows) {
  const Schedule schedule{ScheduleKind::k1F1B, 0, {{0}, {1}}, {{}, {}}};
  EXPECT_EQ(ScheduleGrid(schedule, false), "r0 \nr1 \n");
}

TEST(GridWord, LeavesOutWhatIsNoCompute) {
  Plan plan;
  plan.schedule = ScheduleKind::kDualPipe;
  plan.stages.resize(2);
  for (const OpInfo& info : AllOps()) {
    Instruction instruction;
    instruction.op = info.op;
    instruction.stage = 1;
    instruction.microbatch = 3;
    const std::string word = GridWord(plan, instruction, /*microbatches=*/4);
    EXPECT_EQ(word.empty(), !IsCompute(info.op)) << info.name;
    if (word.empty()) continue;
    EXPECT_EQ(word, absl::StrCat(std::string(1, static_cast<char>(std::toupper(info.letter))), 1));
    // The first direction, and another number of micro-batches: an evaluation's.
    EXPECT_EQ(GridWord(plan, instruction, 8), absl::StrCat(std::string(1, info.letter), 3));
  }
}

// ---- Refusals: the lines and the words around a fault.

TEST(Refusal, DrawsTheWindowAroundTheFault) {
  const Plan plan = CompileOrDie(SmallSpec({.ranks = 7, .microbatches = 20, .layers = 7}));
  const auto& program = plan.ranks[3].train;
  int at = FindOp(program, Op::kForward);
  while (program[at].microbatch != 12) at = FindOp(program, Op::kForward, at + 1);
  const absl::Status status = Refusal(plan, {3, false, at}, "because");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  const std::vector<std::string> lines = absl::StrSplit(status.message(), '\n');
  ASSERT_EQ(lines.size(), 1u + 7u + 5u + 1u);
  const std::string text = InstructionToText(program[at]);
  EXPECT_EQ(lines[0], absl::StrCat("rank 3 train[", at, "] ", text, ": because"));
  for (int i = -3; i <= 3; ++i) {
    EXPECT_EQ(lines[4 + i],
              absl::StrCat(i == 0 ? "> " : "  ", at + i, " ", InstructionToText(program[at + i])));
  }
  // Two ranks on either side, eight words on either side of the fault's.
  for (int row = 0; row < 5; ++row) {
    const std::vector<std::string> words = absl::StrSplit(lines[8 + row], ' ');
    EXPECT_EQ(words[0], absl::StrCat("r", row + 1));
    EXPECT_EQ(words.size(), 1u + 17u);
    EXPECT_EQ(words[9] == ">f12<", row == 2) << words[9];
  }
  EXPECT_EQ(lines.back(), "");
}

TEST(Refusal, StopsAtTheEdges) {
  const Plan plan = CompileOrDie(SmallSpec({.microbatches = 1}));
  const std::string first(Refusal(plan, {0, false, 1}, "first").message());
  EXPECT_THAT(
      std::vector<std::string>(absl::StrSplit(first, '\n')),
      ElementsAre(HasSubstr("rank 0 train[1] forward"), HasSubstr("  0 load"),
                  HasSubstr("> 1 forward"), HasSubstr("  2 send-activation"), HasSubstr("  3 free"),
                  HasSubstr("  4 receive-gradient"), "r0 >f0< b0", "r1 f0 i0 w0", ""));
  const int end = static_cast<int>(plan.ranks[1].evaluate.size());
  const std::string last(Refusal(plan, {1, true, end}, "last").message());
  EXPECT_THAT(std::vector<std::string>(absl::StrSplit(last, '\n')),
              ElementsAre(absl::StrCat("rank 1 evaluate[", end, "] end of program: last"),
                          HasSubstr("forward"), HasSubstr("free"), HasSubstr("agree"), "r0 f0 f1",
                          "r1 f0 f1", ""));
}

// An evaluation has its own number of micro-batches, by which directions are told apart.
TEST(Refusal, CountsTheMicrobatchesOfItsProgram) {
  const Plan plan =
      CompileOrDie(SmallSpec({.schedule = ScheduleKind::kDualPipe, .microbatches = 8}));
  ASSERT_EQ(plan.num_evaluation_microbatches, 2);
  EXPECT_THAT(std::string(Refusal(plan, {0, true, 0}, "why").message()),
              HasSubstr("\nr0 >f0< F0\nr1 F0 f0\n"));
}

TEST(TableRefusal, NamesTheTable) {
  const absl::Status status = TableRefusal("buckets[2]", "is empty");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "plan: buckets[2]: is empty");
}

}  // namespace
}  // namespace birkhoff
