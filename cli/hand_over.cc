// birkhoff data ..., generate ..., eval ...: execv of what stands beside birkhoff.
#include "cli/hand_over.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "core/base/check.h"

namespace birkhoff {
namespace {

constexpr OtherProgram kOtherPrograms[] = {
    {"data", "birkhoff-data", /*verb_is_a_word=*/false},
    {"generate", "birkhoff-inference", /*verb_is_a_word=*/true},
    {"eval", "birkhoff-inference", /*verb_is_a_word=*/true},
};

int Become(const std::string& name, const std::vector<std::string>& words, const Console& console) {
  const std::string path = absl::StrCat(console.program_directory, "/", name);
  std::vector<std::string> whole = {path};
  whole.insert(whole.end(), words.begin(), words.end());
  std::vector<char*> argv;
  for (std::string& word : whole) argv.push_back(word.data());
  argv.push_back(nullptr);
  console.out->flush();
  ::execv(path.c_str(), argv.data());
  return Finish(console,
                absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno), "; need ",
                                                    name, " beside birkhoff (build it too)")));
}

// With `first` and the verb, where the program is told it, in front.
std::vector<std::string> WordsOf(const OtherProgram& other, std::vector<std::string> first,
                                 const std::vector<std::string>& words) {
  if (other.verb_is_a_word) first.push_back(other.verb);
  first.insert(first.end(), words.begin(), words.end());
  return first;
}

}  // namespace

const OtherProgram* FindOtherProgram(std::string_view verb) {
  for (const OtherProgram& other : kOtherPrograms) {
    if (verb == other.verb) return &other;
  }
  return nullptr;
}

int BecomeProgram(const OtherProgram& other, const std::vector<std::string>& words,
                  const Console& console) {
  return Become(other.program, WordsOf(other, {}, words), console);
}

int BecomeCompletion(const OtherProgram& other, const std::vector<std::string>& words,
                     const Console& console) {
  return Become(other.program, WordsOf(other, {kCompleteWord}, words), console);
}

void AddOtherProgram(CLI::App& verb, Invocation& invocation) {
  const OtherProgram* other = FindOtherProgram(verb.get_name());
  BIRKHOFF_CHECK(other != nullptr, "no program is known for this verb");
  verb.prefix_command();
  verb.set_help_flag();  // --help is for the other program too
  verb.fallthrough(false);
  verb.callback([&verb, &invocation, other] {
    invocation.chosen = [&verb, &invocation, other] {
      std::vector<std::string> words = verb.remaining();
      if (!invocation.output.empty()) words.insert(words.end(), {"-o", invocation.output});
      return BecomeProgram(*other, words, invocation.console);
    };
  });
}

}  // namespace birkhoff
