// birkhoff version.
#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "core/base/version.h"

namespace birkhoff {

void AddVersion(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("version", "Print the version");
  verb->callback([&program] {
    program.chosen = [&program] {
      if (program.output == "json") {
        *program.console.out << "{\"version\":\"" << kVersion << "\"}\n";
      } else {
        *program.console.out << "birkhoff " << kVersion << "\n";
      }
      return 0;
    };
  });
}

}  // namespace birkhoff
