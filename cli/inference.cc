// birkhoff generate ... and birkhoff eval ...: hand over to birkhoff-inference, which stands beside
// this program.
#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "cli/sibling_program.h"

namespace birkhoff {
namespace {

void AddInferenceVerb(CLI::App& app, Program& program, const std::string& name,
                      const std::string& description) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->prefix_command();
  verb->set_help_flag();  // --help belongs to birkhoff-inference
  verb->fallthrough(false);
  verb->callback([verb, name, &program] {
    program.chosen = [verb, name, &program] {
      std::vector<std::string> words = {name};
      for (std::string& word : verb->remaining()) words.push_back(std::move(word));
      return BecomeSibling("birkhoff-inference", words, program);
    };
  });
}

}  // namespace

void AddGenerate(CLI::App& app, Program& program) {
  AddInferenceVerb(app, program, "generate", "Write text with trained weights");
}

void AddEval(CLI::App& app, Program& program) {
  AddInferenceVerb(app, program, "eval", "Measure trained weights: loss, perplexity");
}

}  // namespace birkhoff
