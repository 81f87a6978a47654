// What the command lines of birkhoff and of birkhoff data have in common: help, words about slips,
// and candidates for a shell that completes words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/console.h"

namespace CLI {
class App;
}

namespace birkhoff {

// What options mean to a completion, in their type_name: a field of the job file, FIELD=VALUE for
// --set, or one of the verbs.  Options with any other name take paths or free text.
inline constexpr char kFieldType[] = "FIELD";
inline constexpr char kAssignmentType[] = "FIELD=VALUE";
inline constexpr char kVerbType[] = "VERB";

// Call before options are added: their defaults show in the help.
void PrepareCommandLine(CLI::App& app);

// Parses.  Empty where the chosen verb shall run; else the exit code: 0 after help or a version on
// `out`, which no word at all asks for too; 64 after what is wrong on `err`, with the nearest verb
// or flag.  Words that begin with kCompleteWord are answered with candidates for the last of them.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv,
                                    const Console& console);

// What a shell's completion calls as a verb.
inline constexpr char kCompleteWord[] = "__complete";

struct Candidate {
  std::string word;
  std::string meaning;  // one line; may be empty
};
// What may stand where the last of `words` stands, which is what has been typed of it so far; the
// program's name is not among them.  Empty where paths or free text belong.  Shells that cut words
// at "=" pass it as a word of its own; what is behind it is completed alone.
std::vector<Candidate> CompleteWords(const CLI::App& app, const std::vector<std::string>& words);
// One per line on `out`, a tab before the meaning.
void PrintCandidates(const std::vector<Candidate>& candidates, const Console& console);

}  // namespace birkhoff
