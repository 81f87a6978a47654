// The program birkhoff-data: tokenize, train-tokenizer, inspect.  `birkhoff data` starts it; it is
// a program of its own because SentencePiece must not share a process with gRPC (docs/decisions).
#pragma once

#include "cli/console.h"

namespace birkhoff {

// Returns the exit code of the process.
int RunDataProgram(int argc, const char* const* argv, const Console& console);

}  // namespace birkhoff
