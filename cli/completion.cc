// birkhoff completion SHELL prints a script for that shell; it asks birkhoff itself, which reads the
// command line's own table (kCompleteWord), whenever somebody presses tab.
#include <CLI/CLI.hpp>

#include "cli/verbs.h"

namespace birkhoff {
namespace {

// Candidates stand one per line, a tab before their meaning.
constexpr char kBash[] = R"(# Completion of birkhoff for bash.
_birkhoff() {
  local IFS=$'\n' line
  COMPREPLY=()
  for line in $("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
    COMPREPLY+=("${line%%$'\t'*}")
  done
  if [[ ${COMPREPLY[0]-} == *= ]]; then compopt -o nospace; fi
}
complete -o default -F _birkhoff birkhoff
)";

constexpr char kZsh[] = R"(#compdef birkhoff
# Completion of birkhoff for zsh.
_birkhoff() {
  local -a words_found meanings
  local line
  for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -n $line ]] || continue
    words_found+=("${line%%$'\t'*}")
    meanings+=("${line/$'\t'/  }")
  done
  if (( ${#words_found} == 0 )); then
    _files
  elif [[ ${words_found[1]} == *= ]]; then
    compadd -S '' -l -d meanings -- "${words_found[@]}"
  else
    compadd -l -d meanings -- "${words_found[@]}"
  fi
}
compdef _birkhoff birkhoff
)";

constexpr char kFish[] = R"(# Completion of birkhoff for fish.
function __birkhoff_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found ($words[1] __complete $words[2..-1] 2>/dev/null)
    if test (count $found) -gt 0
        string join \n -- $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c birkhoff -f -a '(__birkhoff_complete)'
)";

int PrintScript(const std::string& shell, const Invocation& invocation) {
  *invocation.console.out << (shell == "bash" ? kBash : shell == "zsh" ? kZsh : kFish);
  return 0;
}

}  // namespace

void AddCompletion(CLI::App& verb, Invocation& invocation) {
  auto shell = std::make_shared<std::string>();
  verb.add_option("shell", *shell, "Which shell's")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb.callback([shell, &invocation] {
    invocation.chosen = [shell, &invocation] { return PrintScript(*shell, invocation); };
  });
}

}  // namespace birkhoff
