// What an instruction should touch comes from operands.h, what it does touch from its lists, and
// both sets of homes must be one.  A gradient in segments remembers how far down it has come.
#include "core/plan/check_memory.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/plan/text.h"

namespace birkhoff {
namespace {

std::string Names(HomeSet homes) {
  std::string names;
  for (int home = 0; home < kNumHomes; ++home) {
    if (!homes.Has(static_cast<Home>(home))) continue;
    absl::StrAppend(&names, names.empty() ? "" : ", ", HomeName(static_cast<Home>(home)));
  }
  return names.empty() ? "nothing" : names;
}

std::string HomesProblem(const char* verb, HomeSet given, HomeSet needed) {
  if (given == needed) return "";
  return absl::StrCat(verb, " ", Names(given), "; needs ", Names(needed));
}

}  // namespace

MemoryFollower::MemoryFollower(const Plan& plan, const std::vector<StageLayout>& layouts,
                               RankProgram which, const ProgramOrder& order)
    : plan_(plan),
      layouts_(layouts),
      which_(which),
      rank_(plan.ranks[which.rank]),
      program_(which.evaluates ? rank_.evaluate : rank_.train),
      order_(order),
      held_(rank_.buffers.size()) {}

std::string MemoryFollower::Follow(int index) {
  const Instruction& instruction = program_[index];
  if (instruction.op == Op::kFree) return Free(index);
  if (instruction.stage < 0) return "";
  const UnitRange segment = instruction.segment.units;
  const UnitRange stage = plan_.stages[instruction.stage].units;
  const SegmentPosition position{.first = segment.last == stage.last,
                                 .last = segment.first == stage.first};
  Operands needed =
      OperandsOf(instruction.op, layouts_[instruction.stage], position, which_.evaluates);
  if (IsHandOff(instruction.op)) needed.fills.Add(HandOffTarget(instruction.op));
  HomeSet read, filled;
  for (const int buffer : instruction.reads) {
    if (std::string problem = Read(index, buffer, &read); !problem.empty()) return problem;
  }
  for (const int buffer : instruction.fills) {
    if (std::string problem = Fill(index, buffer, &filled); !problem.empty()) return problem;
  }
  std::string problem = HomesProblem("reads", read, needed.reads);
  return problem.empty() ? HomesProblem("fills", filled, needed.fills) : problem;
}

std::optional<MemoryFollower::Leak> MemoryFollower::FindLeak() const {
  for (size_t b = 0; b < held_.size(); ++b) {
    if (held_[b].stage >= 0)
      return Leak{held_[b].filled_by, absl::StrCat("b", b, " is never freed")};
  }
  return std::nullopt;
}

std::string MemoryFollower::HeldText(int buffer) const {
  const Held& held = held_[buffer];
  if (held.stage < 0) return "nothing";
  return absl::StrCat(HomeName(rank_.buffers[buffer].home), " of stage ", held.stage,
                      " micro-batch ", held.microbatch);
}

// Whatever touches a buffer comes after all that touched it before.
std::string MemoryFollower::Touch(int index, int buffer) {
  int& last = held_[buffer].last_access;
  if (last == index) return absl::StrCat("names b", buffer, " twice");
  if (last >= 0 && !order_.Before(last, index)) {
    return absl::StrCat("touches b", buffer, " without waiting for [", last, "] ",
                        InstructionToText(program_[last]));
  }
  last = index;
  return "";
}

std::string MemoryFollower::AddHome(int buffer, HomeSet* homes) const {
  const Home home = rank_.buffers[buffer].home;
  if (homes->Has(home)) return absl::StrCat("names two buffers of home ", HomeName(home));
  homes->Add(home);
  return "";
}

std::string MemoryFollower::Read(int index, int buffer, HomeSet* homes) {
  if (std::string problem = Touch(index, buffer); !problem.empty()) return problem;
  if (std::string problem = AddHome(buffer, homes); !problem.empty()) return problem;
  const Instruction& instruction = program_[index];
  const Held& held = held_[buffer];
  if (held.stage != instruction.stage || held.microbatch != instruction.microbatch) {
    return absl::StrCat("reads b", buffer, ", which holds ", HeldText(buffer), ", needs ",
                        HomeName(rank_.buffers[buffer].home), " of stage ", instruction.stage,
                        " micro-batch ", instruction.microbatch);
  }
  return ReadParts(instruction, buffer);
}

// Homes that are made piece by piece hold the right pieces.
std::string MemoryFollower::ReadParts(const Instruction& instruction, int buffer) {
  const Home home = rank_.buffers[buffer].home;
  const UnitRange segment = instruction.segment.units;
  Held& held = held_[buffer];
  if (home == Home::kRecompute &&
      !(held.units == BlockOfSegment(layouts_[instruction.stage], segment))) {
    return absl::StrCat("reads b", buffer, ", which holds the recomputed units ", held.units.first,
                        ":", held.units.last);
  }
  if (home != Home::kGradientOut && home != Home::kPending) return "";
  const bool advances = ComputesInputGradient(instruction.op);
  const bool enough = advances
                          ? held.units.first == segment.last
                          : (instruction.op == Op::kBackwardWeight
                                 ? held.units.first <= segment.first
                                 : held.units.first == plan_.stages[instruction.stage].units.first);
  if (!enough) {
    return absl::StrCat("reads b", buffer, ", whose gradient has come down to unit ",
                        held.units.first, " only");
  }
  if (advances) held.units.first = segment.first;
  return "";
}

std::string MemoryFollower::Fill(int index, int buffer, HomeSet* homes) {
  if (std::string problem = Touch(index, buffer); !problem.empty()) return problem;
  if (std::string problem = AddHome(buffer, homes); !problem.empty()) return problem;
  const Buffer& target = rank_.buffers[buffer];
  if (target.home == Home::kScratch) return "";
  const Instruction& instruction = program_[index];
  const int stage = IsHandOff(instruction.op)
                        ? HandOffTargetStage(instruction.op, instruction.stage)
                        : instruction.stage;
  if (target.stage != stage) {
    return absl::StrCat("fills b", buffer, " of stage ", target.stage, ", needs one of stage ",
                        stage);
  }
  Held& held = held_[buffer];
  if (held.stage >= 0) {
    return absl::StrCat("fills b", buffer, ", which still holds ", HeldText(buffer));
  }
  held.stage = stage;
  held.microbatch = instruction.microbatch;
  held.units = instruction.segment.units;
  held.filled_by = index;
  return "";
}

std::string MemoryFollower::Free(int index) {
  const Instruction& instruction = program_[index];
  if (instruction.reads.empty() || !instruction.fills.empty()) {
    return "must read what it frees and fill nothing";
  }
  for (const int buffer : instruction.reads) {
    if (std::string problem = Touch(index, buffer); !problem.empty()) return problem;
    Held& held = held_[buffer];
    if (held.stage != instruction.stage || held.microbatch != instruction.microbatch) {
      return absl::StrCat("frees b", buffer, ", which holds ", HeldText(buffer));
    }
    held.stage = held.microbatch = -1;
  }
  return "";
}

}  // namespace birkhoff
