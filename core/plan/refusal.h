// How the checker says no: the instruction, the reason, and the grid around it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "core/plan/plan.h"

namespace birkhoff {

struct InstructionPlace {
  int rank = 0;
  bool evaluates = false;  // in the evaluate program
  int index = 0;           // may be the program's size: something is missing at its end
};

// FAILED_PRECONDITION "rank 2 train[17] backward-input stage=3 ...: REASON", then the instructions
// around it and the grid's rows of the ranks around it, with the place marked in both.
absl::Status Refusal(const Plan& plan, const InstructionPlace& place, const std::string& reason);

// FAILED_PRECONDITION "plan: WHAT: REASON", for what belongs to no instruction.
absl::Status TableRefusal(const std::string& what, const std::string& reason);

}  // namespace birkhoff
