// Runs the programs of all ranks with numbers instead of tensors, in an order drawn at random from
// all that streams, waits and messages allow.  Knows nothing of how plans are made or checked: what
// an instruction computes is said here once more, in the words of docs/plan.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "core/plan/plan.h"
#include "core/plan/replay.h"
#include "core/spec/footprint.h"

namespace birkhoff {

// What a step leaves behind: all that may not depend on the plan.  Numbers stand for tensors; their
// sums are modulo 2^64 and so do not depend on order.
struct StepResult {
  std::vector<uint64_t> gradients;  // by unit, over all micro-batches
  uint64_t loss = 0;
  friend bool operator==(const StepResult&, const StepResult&) = default;
};

// The same step without any plan: a loop over micro-batches, up and down the units.
StepResult SerialStep(const Plan& plan, const std::vector<StageLayout>& layouts, int microbatches,
                      bool evaluates);

enum class Transport {
  kRendezvous,  // a send is over with its receive
  kSlots,       // a send is over as soon as the message is on its way
};

// Empty, or what went wrong: a hang, or a result that differs from `expected` on some rank.
// Whatever is not yet written or written no more reads as garbage, and what runs beside its writer
// or its reader is read and written in any order; so a race shows in the numbers.  `plan` must have
// indices in range.
std::string RunInAnyOrder(const Plan& plan, ProgramMember program, Transport transport,
                          const StepResult& expected, Rng& rng);

}  // namespace birkhoff
