// CLI11 parses; what people get to read when it cannot is ours.
#include "cli/command_line.h"

#include <CLI/CLI.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/nearest.h"
#include "core/base/printable.h"

namespace birkhoff {
namespace {

constexpr size_t kHelpWidth = 80, kHelpColumn = 28;

std::vector<std::string> VerbsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  return names;
}

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

// The first word that nobody has taken, with what may have been meant; empty: there is none.
std::string UnexpectedWord(const CLI::App& app) {
  const std::vector<std::string> left = app.remaining(/*recurse=*/true);
  if (left.empty()) return "";
  const std::string& word = left.front();
  const bool flag = absl::StartsWith(word, "-");
  const bool verb_is_missing = app.get_subcommands().empty();
  std::vector<std::string> known;
  if (flag) {
    known = FlagsOf(app);
    for (const CLI::App* verb : app.get_subcommands()) {
      const std::vector<std::string> more = FlagsOf(*verb);
      known.insert(known.end(), more.begin(), more.end());
    }
  } else if (verb_is_missing) {
    known = VerbsOf(app);
  }
  const std::string nearest = Nearest(word.substr(0, word.find('=')), known);
  return absl::StrCat(verb_is_missing && !flag
                          ? absl::StrCat(word, " is no verb of ", app.get_name())
                          : absl::StrCat("The following argument was not expected: ", word),
                      nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?"));
}

// In lines of the help's right column.
std::string Wrapped(const std::string& text) {
  std::string wrapped;
  size_t column = 0;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (column > 0 && column + 1 + word.size() > kHelpWidth - kHelpColumn) {
      wrapped += '\n';
      column = 0;
    }
    absl::StrAppend(&wrapped, column > 0 ? " " : "", word);
    column += word.size() + (column > 0 ? 1 : 0);
  }
  return wrapped;
}

// No line is longer than a terminal, and an empty list is no default worth a word.
void TidyHelp(CLI::App& app) {
  for (CLI::Option* option : app.get_options([](CLI::Option*) { return true; })) {
    option->description(Wrapped(option->get_description()));
    if (option->get_default_str() == "[]") option->default_str("");
  }
  for (CLI::App* verb : app.get_subcommands([](CLI::App*) { return true; })) TidyHelp(*verb);
}

}  // namespace

void PrepareCommandLine(CLI::App& app) {
  app.option_defaults()->always_capture_default();
  app.require_subcommand(1);
  app.get_formatter()->column_width(kHelpColumn);
  app.get_formatter()->label("SUBCOMMAND", "VERB");
}

std::optional<int> ParseCommandLine(CLI::App& app, int argc, const char* const* argv,
                                    const Console& console) {
  if (argc > 1 && argv[1] == absl::string_view(kCompleteWord)) {
    PrintCandidates(CompleteWords(app, {argv + 2, argv + argc}), console);
    return 0;
  }
  TidyHelp(app);
  if (argc <= 1) {
    *console.out << app.help();
    return 0;
  }
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, *console.out, *console.err);
    // Both say that words are missing or left over; what stands there instead says more.
    const auto code = static_cast<CLI::ExitCodes>(error.get_exit_code());
    const bool words = code == CLI::ExitCodes::ExtrasError || code == CLI::ExitCodes::RequiredError;
    const std::string unexpected = words ? UnexpectedWord(app) : "";
    *console.err << PrintableLines(unexpected.empty() ? error.what() : unexpected)
                 << "\nRun with --help for more information.\n";
    return static_cast<int>(ExitCode::kBadSpec);
  }
}

}  // namespace birkhoff
