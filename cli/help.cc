// birkhoff help [VERB]: what `birkhoff VERB --help` shows.
#include <CLI/CLI.hpp>

#include "cli/command_line.h"
#include "cli/verbs.h"

namespace birkhoff {
namespace {

int Help(const std::vector<std::string>& words, const Invocation& invocation) {
  std::vector<const char*> argv = {"birkhoff"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back("--help");
  Invocation again;
  again.console = invocation.console;
  return RunProgram(static_cast<int>(argv.size()), argv.data(), std::move(again));
}

}  // namespace

void AddHelp(CLI::App& verb, Invocation& invocation) {
  auto words = std::make_shared<std::vector<std::string>>();
  verb.add_option("verb", *words, "The verb; none: all of them, each in a line")
      ->type_name(kVerbType);
  verb.callback([words, &invocation] {
    invocation.chosen = [words, &invocation] { return Help(*words, invocation); };
  });
}

}  // namespace birkhoff
