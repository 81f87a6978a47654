// The text form of plans: one line per instruction, parses back to the same plan.  Grammar in
// docs/plan.md.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "core/plan/plan.h"

namespace birkhoff {

std::string PlanToText(const Plan& plan);
absl::StatusOr<Plan> PlanFromText(std::string_view text);  // INVALID_ARGUMENT names the line
std::string InstructionToText(const Instruction& instruction);

// What people read in a trace: "backward-input stage 1 micro-batch 3", and the queue of its rank
// that it ran in: "compute", "activations 0 to 1", by whose numbers compute comes first.
std::string InstructionWords(const Instruction& instruction);
std::string QueueWords(const Plan& plan, const Instruction& instruction);
int QueueNumber(const Instruction& instruction);

// The rank x time grid of the train programs as docs/plan.md draws it (f0 B3 [F4+b0] ...).
std::string PlanGrid(const Plan& plan);

}  // namespace birkhoff
