// How well a rank's time was used in one program, from when its instructions ran.  Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/instruction.h"

namespace birkhoff {

// When an instruction of the last program ran, from the start of its first instruction.
struct InstructionTime {
  int64_t start_ns = 0;
  int64_t end_ns = 0;
};

struct Utilization {
  int64_t busy_ns = 0;     // inside forward, backward and recompute instructions
  int64_t elapsed_ns = 0;  // from the start of the first instruction to the end of the last compute
  // Without compute, but with a transfer under way: a send, a receive that is posted (its wait for
  // the sender included, as for a waiting kernel of a collective), a reduction.
  int64_t exposed_ns = 0;
  int64_t span_ns = 0;  // to the end of the last compute or transfer
};

// `times` by index into `instructions`.
Utilization MeasureUtilization(const std::vector<Instruction>& instructions,
                               const std::vector<InstructionTime>& times);

}  // namespace birkhoff
