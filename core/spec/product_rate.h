// What products of float reach on a CPU: what the cost model weighs, and never what a job is
// refused for.
#pragma once

#include "core/base/isa.h"

namespace birkhoff {

// Floating-point operations per second of one core, by the instructions that its product library
// uses (kernels/cpu/paths.h).
double ProductRate(Isa isa);

}  // namespace birkhoff
