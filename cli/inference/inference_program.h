// The program birkhoff-inference: generate and eval.  `birkhoff generate` and `birkhoff eval` start
// it; it is a program of its own because SentencePiece must not share a process with gRPC
// (docs/decisions).
#pragma once

#include "cli/console.h"

namespace birkhoff {

// Returns the exit code of the process.  `to_terminal`: out is one, whose cursor a text must not move.
int RunInferenceProgram(int argc, const char* const* argv, const Console& console,
                        bool to_terminal);

}  // namespace birkhoff
