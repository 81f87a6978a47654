// Verbs that are programs of their own, beside this one: those that need SentencePiece, which
// cannot share a process with gRPC (docs/decisions).
#pragma once

#include <string>
#include <vector>

#include "cli/program.h"

namespace birkhoff {

// Becomes the program of that name with these words, and with the -o that was read before the verb.
// Returns only where it cannot be started: the exit code, with a message.
int BecomeSibling(const std::string& name, const std::vector<std::string>& words,
                  const Program& program);

}  // namespace birkhoff
