// Words that are meant for birkhoff-data, which stands beside this program.
#pragma once

#include <string>
#include <vector>

#include "cli/console.h"

namespace birkhoff {

// Runs birkhoff-data instead of this program.  Returns only where it cannot be started, with the
// exit code.
int BecomeDataProgram(const std::vector<std::string>& words, const Console& console);

}  // namespace birkhoff
