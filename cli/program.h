// birkhoff, the command-line program: verbs register themselves here, and one of them runs.
#pragma once

#include <functional>
#include <string>

#include "cli/console.h"

namespace CLI {
class App;
}

namespace birkhoff {

struct Program {
  Console console;
  std::string server;           // --server, or BIRKHOFF_SERVER
  std::string output;           // -o: "" | json | yaml | wide
  std::function<int()> chosen;  // what the parsed verb does; returns the exit code
};

// Parses and runs.  Words about wrong flags go to err, with exit code 64.
int RunProgram(int argc, const char* const* argv, Program program);

// One per verb, in the file of its name.  Each adds a subcommand that sets program.chosen.
void AddRun(CLI::App& app, Program& program);
void AddValidate(CLI::App& app, Program& program);
void AddPlan(CLI::App& app, Program& program);
void AddData(CLI::App& app, Program& program);
void AddExplain(CLI::App& app, Program& program);
void AddVersion(CLI::App& app, Program& program);
void AddSubmit(CLI::App& app, Program& program);
void AddList(CLI::App& app, Program& program);
void AddGet(CLI::App& app, Program& program);
void AddWatch(CLI::App& app, Program& program);
void AddCancel(CLI::App& app, Program& program);
void AddWorkers(CLI::App& app, Program& program);
void AddReport(CLI::App& app, Program& program);
void AddCompare(CLI::App& app, Program& program);
void AddExport(CLI::App& app, Program& program);

}  // namespace birkhoff
