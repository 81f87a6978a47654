// birkhoff data ...: hands over to birkhoff-data.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cli/hand_over.h"
#include "cli/verbs.h"

namespace birkhoff {

int BecomeDataProgram(const std::vector<std::string>& words, const Console& console) {
  const std::string path = absl::StrCat(console.program_directory, "/birkhoff-data");
  std::vector<std::string> whole = {path};
  whole.insert(whole.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : whole) argv.push_back(word.data());
  argv.push_back(nullptr);
  console.out->flush();
  ::execv(path.c_str(), argv.data());
  return Finish(console, absl::UnavailableError(
                             absl::StrCat(path, ": ", std::strerror(errno),
                                          "; need birkhoff-data beside birkhoff (build it too)")));
}

void AddData(CLI::App& verb, Program& program) {
  verb.prefix_command();
  verb.set_help_flag();  // --help is for the other program too
  verb.fallthrough(false);
  verb.callback([&verb, &program] {
    program.chosen = [&verb, &program] {
      std::vector<std::string> words = verb.remaining();
      if (!program.output.empty()) words.insert(words.end(), {"-o", program.output});
      return BecomeDataProgram(words, program.console);
    };
  });
}

}  // namespace birkhoff
