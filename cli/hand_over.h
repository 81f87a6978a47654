// Verbs of other programs, which stand beside this one: those that need SentencePiece, which cannot
// share a process with gRPC (docs/decisions).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/console.h"
#include "cli/invocation.h"

namespace birkhoff {

// A verb and the program that knows what stands behind it.
struct OtherProgram {
  const char* verb;
  const char* program;
  bool verb_is_a_word;  // the program has several verbs, and is told which
};
// Null: the verb is one of this program's own.
const OtherProgram* FindOtherProgram(std::string_view verb);

// Runs the program instead of this one; `words` are those behind the verb.  Returns only where it
// cannot be started, with the exit code.
int BecomeProgram(const OtherProgram& other, const std::vector<std::string>& words,
                  const Console& console);
// The same for a shell that completes the last of the words.
int BecomeCompletion(const OtherProgram& other, const std::vector<std::string>& words,
                     const Console& console);

// Makes the verb pass all words behind it on, with the -o that was read before it.
void AddOtherProgram(CLI::App& verb, Invocation& invocation);

}  // namespace birkhoff
