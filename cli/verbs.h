// The verbs of birkhoff: one row each, in verbs.cc.  Parsing, help, suggestions and completion are
// made from the rows and from the options that each verb adds.  A new verb is a file of its name,
// a declaration here and a row there.
#pragma once

#include <span>

#include "cli/program.h"

namespace birkhoff {

struct Verb {
  const char* group;  // heading in the help
  const char* name;
  const char* summary;  // one line, no full stop
  const char* example;  // a command line that parses; "> FILE" may stand behind it
  // Adds options to `verb` and sets its callback, which sets program.chosen.  `program` outlives
  // both.
  void (*add)(CLI::App& verb, Program& program);
};

// In the order of the help.
std::span<const Verb> Verbs();

// A subcommand of `app` for each row.
void AddVerbs(CLI::App& app, Program& program);

void AddCancel(CLI::App& verb, Program& program);
void AddCompare(CLI::App& verb, Program& program);
void AddCompletion(CLI::App& verb, Program& program);
void AddExplain(CLI::App& verb, Program& program);
void AddExport(CLI::App& verb, Program& program);
void AddGet(CLI::App& verb, Program& program);
void AddHelp(CLI::App& verb, Program& program);
void AddList(CLI::App& verb, Program& program);
void AddPlan(CLI::App& verb, Program& program);
void AddReport(CLI::App& verb, Program& program);
void AddRun(CLI::App& verb, Program& program);
void AddSubmit(CLI::App& verb, Program& program);
void AddValidate(CLI::App& verb, Program& program);
void AddVersion(CLI::App& verb, Program& program);
void AddWatch(CLI::App& verb, Program& program);
void AddWorkers(CLI::App& verb, Program& program);

}  // namespace birkhoff
