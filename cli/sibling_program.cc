// execv of what stands beside birkhoff.
#include "cli/sibling_program.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace birkhoff {

int BecomeSibling(const std::string& name, const std::vector<std::string>& words,
                  const Program& program) {
  const std::string path = absl::StrCat(program.console.program_directory, "/", name);
  std::vector<std::string> all = {path};
  all.insert(all.end(), words.begin(), words.end());
  if (!program.output.empty()) all.insert(all.end(), {"-o", program.output});
  std::vector<char*> argv;
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  program.console.out->flush();
  ::execv(path.c_str(), argv.data());
  return Finish(program.console,
                absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno), "; need ",
                                                    name, " beside birkhoff (build it too)")));
}

}  // namespace birkhoff
