// Words that a shell may offer are read off the same options that parse them.
#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/command_line.h"
#include "core/spec/field.h"

namespace birkhoff {
namespace {

using Candidates = std::vector<Candidate>;

Candidates Verbs(const CLI::App& app) {
  Candidates candidates;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    candidates.push_back({verb->get_name(), verb->get_description()});
  }
  return candidates;
}

void AddFlags(const CLI::App& app, Candidates* candidates) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      candidates->push_back({"--" + name, option->get_description()});
    }
  }
}

// What "path=" may go on with: the choices of a field that has some.
Candidates ValuesOf(const std::string& path) {
  const Field* field = FindField(path);
  if (field == nullptr) return {};
  Candidates candidates;
  if (const auto* choice = std::get_if<ChoiceField>(&field->kind)) {
    for (const std::string& name : choice->names) candidates.push_back({name, ""});
  } else if (std::holds_alternative<SwitchField>(field->kind)) {
    candidates = {{"true", ""}, {"false", ""}};
  }
  return candidates;
}

Candidates FieldsEndingWith(const std::string& ending) {
  Candidates candidates;
  for (const Field& field : Fields()) {  // of a meaning the first line: a candidate has one
    candidates.push_back({field.path + ending, field.meaning.substr(0, field.meaning.find('\n'))});
  }
  return candidates;
}

// "{json,yaml,wide}" in what CLI11 says of an option's values.
Candidates ChoicesOf(const std::string& type) {
  const size_t open = type.find('{'), close = type.find('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  Candidates candidates;
  for (const absl::string_view choice :
       absl::StrSplit(type.substr(open + 1, close - open - 1), ',')) {
    candidates.push_back({std::string(choice), ""});
  }
  return candidates;
}

// `typed` is what stands of the value already.
Candidates ValuesFor(const CLI::App& app, const CLI::Option& option, const std::string& typed) {
  const std::string type = option.get_type_name();
  if (type == kVerbType) return Verbs(app);
  if (type == kFieldType) return FieldsEndingWith("");
  if (type != kAssignmentType) return ChoicesOf(type);
  const size_t equals = typed.find('=');
  if (equals == std::string::npos) return FieldsEndingWith("=");
  const std::string path = typed.substr(0, equals);
  Candidates values = ValuesOf(path);
  for (Candidate& value : values) value.word = absl::StrCat(path, "=", value.word);
  return values;
}

// Where the walk over the words before the last one has got to.
struct Place {
  const CLI::App* app;                   // the verb, or the whole program before one
  const CLI::Option* waiting = nullptr;  // for its value
  size_t positionals = 0;                // of the verb, given so far
};

const CLI::Option* FindFlag(const CLI::App& root, const CLI::App& app, const std::string& word) {
  for (const CLI::App* owner : {&app, &root}) {
    if (const CLI::Option* option = owner->get_option_no_throw(word)) return option;
  }
  return nullptr;
}

Place WalkTo(const CLI::App& root, const std::vector<std::string>& before) {
  Place place{&root};
  for (const std::string& word : before) {
    if (place.waiting != nullptr) {
      place.waiting = nullptr;
    } else if (absl::StartsWith(word, "-")) {
      const CLI::Option* option = FindFlag(root, *place.app, word);
      if (option != nullptr && option->get_items_expected_max() > 0) place.waiting = option;
    } else if (place.app == &root) {
      for (const CLI::App* verb : root.get_subcommands([](const CLI::App*) { return true; })) {
        if (verb->get_name() == word) place.app = verb;
      }
    } else {
      ++place.positionals;
    }
  }
  return place;
}

const CLI::Option* Positional(const CLI::App& app, size_t number) {
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    if (number == 0 || option->get_items_expected_max() > 1) return option;
    --number;
  }
  return nullptr;
}

Candidates CandidatesAt(const CLI::App& root, const Place& place, const std::string& typed) {
  if (place.waiting != nullptr) return ValuesFor(root, *place.waiting, typed);
  if (absl::StartsWith(typed, "-")) {
    Candidates flags;
    AddFlags(*place.app, &flags);
    if (place.app != &root) AddFlags(root, &flags);
    return flags;
  }
  if (place.app == &root) return Verbs(root);
  const CLI::Option* option = Positional(*place.app, place.positionals);
  return option == nullptr ? Candidates() : ValuesFor(root, *option, typed);
}

}  // namespace

std::vector<Candidate> CompleteWords(const CLI::App& app, const std::vector<std::string>& words) {
  // What a shell has cut at "=" is one word again; `cut` of its letters are not ours to repeat.
  std::vector<std::string> whole;
  size_t cut = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    const bool joins = i > 0 && (words[i] == "=" || words[i - 1] == "=");
    if (joins && !whole.empty()) {
      whole.back() += words[i];
      cut = whole.back().rfind('=') + 1;
    } else {
      whole.push_back(words[i]);
      cut = 0;
    }
  }
  if (whole.empty()) whole.emplace_back();
  const std::string typed = whole.back();
  whole.pop_back();
  std::vector<Candidate> fitting;
  for (Candidate& candidate : CandidatesAt(app, WalkTo(app, whole), typed)) {
    if (!absl::StartsWith(candidate.word, typed)) continue;
    candidate.word.erase(0, cut);
    fitting.push_back(std::move(candidate));
  }
  return fitting;
}

void PrintCandidates(const std::vector<Candidate>& candidates, const Console& console) {
  for (const Candidate& candidate : candidates) {
    *console.out << candidate.word;
    if (!candidate.meaning.empty()) *console.out << "\t" << candidate.meaning;
    *console.out << "\n";
  }
}

}  // namespace birkhoff
