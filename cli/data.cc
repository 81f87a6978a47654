// birkhoff data ...: hands over to birkhoff-data, which stands beside this program.
#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "cli/sibling_program.h"

namespace birkhoff {

void AddData(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand(
      "data", "tokenize, train-tokenizer, inspect: prepare and look at token files");
  verb->prefix_command();
  verb->set_help_flag();  // --help belongs to birkhoff-data
  verb->fallthrough(false);
  verb->callback([verb, &program] {
    program.chosen = [verb, &program] {
      return BecomeSibling("birkhoff-data", verb->remaining(), program);
    };
  });
}

}  // namespace birkhoff
