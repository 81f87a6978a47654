// The verbs of birkhoff: one row each, in verbs.cc.  Parsing, help, suggestions and completion are
// made from the rows and from the options that each verb adds.  A new verb is a file of its name,
// a declaration here and a row there.
#pragma once

#include <span>

#include "cli/invocation.h"

namespace birkhoff {

struct Verb {
  const char* group;  // heading in the help
  const char* name;
  const char* summary;  // one line, no full stop
  const char* example;  // a command line that parses; "> FILE" may stand behind it
  // Adds options to `verb` and sets its callback, which sets invocation.chosen.  `invocation` outlives
  // both.
  void (*add)(CLI::App& verb, Invocation& invocation);
};

// In the order of the help.
std::span<const Verb> Verbs();

// A subcommand of `app` for each row.
void AddVerbs(CLI::App& app, Invocation& invocation);

void AddCancel(CLI::App& verb, Invocation& invocation);
void AddCompare(CLI::App& verb, Invocation& invocation);
void AddCompletion(CLI::App& verb, Invocation& invocation);
void AddExplain(CLI::App& verb, Invocation& invocation);
void AddExport(CLI::App& verb, Invocation& invocation);
void AddGet(CLI::App& verb, Invocation& invocation);
void AddHelp(CLI::App& verb, Invocation& invocation);
void AddList(CLI::App& verb, Invocation& invocation);
void AddPlan(CLI::App& verb, Invocation& invocation);
void AddReport(CLI::App& verb, Invocation& invocation);
void AddRun(CLI::App& verb, Invocation& invocation);
void AddSubmit(CLI::App& verb, Invocation& invocation);
void AddValidate(CLI::App& verb, Invocation& invocation);
void AddVersion(CLI::App& verb, Invocation& invocation);
void AddWatch(CLI::App& verb, Invocation& invocation);
void AddWorkers(CLI::App& verb, Invocation& invocation);

}  // namespace birkhoff
