// The sets of instructions that loops are compiled for.
#pragma once

namespace birkhoff {

// A processor that has one has those before it.  kBaseline: what every x86-64 has, SSE2.
enum class Isa { kBaseline, kAvx2, kAvx512 };

Isa BestIsa();  // of this processor

}  // namespace birkhoff
