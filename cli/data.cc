// birkhoff data ...: hands over to birkhoff-data, which stands beside this program.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cli/program.h"

namespace birkhoff {
namespace {

// Returns only where the program cannot be started.
int BecomeDataProgram(const std::vector<std::string>& arguments, const Program& program) {
  const std::string path = absl::StrCat(program.console.program_directory, "/birkhoff-data");
  std::vector<std::string> words = {path};
  words.insert(words.end(), arguments.begin(), arguments.end());
  if (!program.output.empty()) words.insert(words.end(), {"-o", program.output});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  program.console.out->flush();
  ::execv(path.c_str(), argv.data());
  return Finish(program.console, absl::UnavailableError(absl::StrCat(
                                     path, ": ", std::strerror(errno),
                                     "; need birkhoff-data beside birkhoff (build it too)")));
}

}  // namespace

void AddData(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand(
      "data", "tokenize, train-tokenizer, inspect: prepare and look at token files");
  verb->prefix_command();
  verb->set_help_flag();  // --help belongs to birkhoff-data
  verb->fallthrough(false);
  verb->callback([verb, &program] {
    program.chosen = [verb, &program] { return BecomeDataProgram(verb->remaining(), program); };
  });
}

}  // namespace birkhoff
