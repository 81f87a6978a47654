// birkhoff help [VERB]: what `birkhoff VERB --help` shows.
#include <CLI/CLI.hpp>

#include "cli/command_line.h"
#include "cli/verbs.h"

namespace birkhoff {
namespace {

int Help(const std::vector<std::string>& words, const Program& program) {
  std::vector<const char*> argv = {"birkhoff"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back("--help");
  Program again;
  again.console = program.console;
  return RunProgram(static_cast<int>(argv.size()), argv.data(), std::move(again));
}

}  // namespace

void AddHelp(CLI::App& verb, Program& program) {
  auto words = std::make_shared<std::vector<std::string>>();
  verb.add_option("verb", *words, "The verb; none: all of them, each in a line")
      ->type_name(kVerbType);
  verb.callback(
      [words, &program] { program.chosen = [words, &program] { return Help(*words, program); }; });
}

}  // namespace birkhoff
