// birkhoff version.
#include <CLI/CLI.hpp>

#include "cli/program.h"

namespace birkhoff {

void AddVersion(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("version", "Print the version");
  verb->callback([&program] {
    program.chosen = [&program] {
      if (program.output == "json") {
        *program.console.out << "{\"version\":\"" << BIRKHOFF_VERSION << "\"}\n";
      } else {
        *program.console.out << "birkhoff " << BIRKHOFF_VERSION << "\n";
      }
      return 0;
    };
  });
}

}  // namespace birkhoff
