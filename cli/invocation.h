// One call of birkhoff, the command-line program: options of all verbs, and the one verb that runs.
#pragma once

#include <functional>
#include <string>

#include "cli/console.h"

namespace CLI {
class App;
}

namespace birkhoff {

struct Invocation {
  Console console;
  std::string server;           // --server, or BIRKHOFF_SERVER
  std::string output;           // -o: "" | json | yaml | wide
  std::function<int()> chosen;  // what the parsed verb does; returns the exit code
};

// Parses and runs.  Words about wrong flags go to err, with exit code 64.
int RunProgram(int argc, const char* const* argv, Invocation invocation);

// The options of all verbs, and the verbs (verbs.h).  `invocation` must outlive `app`.
void BuildCommandLine(CLI::App& app, Invocation& invocation);

}  // namespace birkhoff
