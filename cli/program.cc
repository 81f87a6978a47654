// The top of the command line: global options and the list of verbs.
#include "cli/program.h"

#include <CLI/CLI.hpp>

namespace birkhoff {

int RunProgram(int argc, const char* const* argv, Program program) {
  CLI::App app("Birkhoff trains transformers with manifold-constrained hyper-connections.",
               "birkhoff");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--server", program.server,
                 "Address of the coordinator, for the verbs of a service")
      ->envname("BIRKHOFF_SERVER")
      ->capture_default_str();
  app.add_option("-o,--output", program.output, "json, yaml or wide")
      ->check(CLI::IsMember({"json", "yaml", "wide"}));
  for (const auto add :
       {AddRun, AddValidate, AddPlan, AddData, AddExplain, AddVersion, AddSubmit, AddList, AddGet,
        AddWatch, AddCancel, AddWorkers, AddReport, AddCompare, AddExport}) {
    add(app, program);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, *program.console.out, *program.console.err);
    return CloseOutput(program.console, code == 0 ? 0 : static_cast<int>(ExitCode::kBadSpec));
  }
  const int code = program.chosen();
  return CloseOutput(program.console, code);
}

}  // namespace birkhoff
