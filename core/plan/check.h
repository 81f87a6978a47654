// Proves that a plan is right, or names the faulty instruction and draws the grid.
#pragma once

#include "absl/status/status.h"
#include "core/plan/plan.h"

namespace birkhoff {

// Proves, for both programs, invariants 1 to 8 of docs/plan.md: each (stage, micro-batch) once;
// data order within and across ranks, found by following what every buffer holds; each send one
// receive, in the same order at both ends; no rendezvous deadlock; progress with two outstanding
// messages per link; races between streams excluded by waits; buffers freed once and never read
// empty; all gradients before their reduction, reduction before agree before optimizer; collectives
// in one order.  Trusts nothing: the sizes, shapes, types, parameter table, memory and model of
// `spec` are compared too.
//
// Errors: FAILED_PRECONDITION "rank 2 train[17] backward-input stage=3 microbatch=2: reads b9,
// which holds ..., needs ..." followed by the grid around the fault.
absl::Status CheckPlan(const Plan& plan, const JobSpec& spec);

}  // namespace birkhoff
