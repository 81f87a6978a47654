// birkhoff explain [FIELD]: what a field of the job file means, what it allows, its default.
#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "cli/verbs.h"
#include "core/spec/field.h"
#include "core/spec/load.h"

namespace birkhoff {
namespace {

int Explain(const std::string& path, const Console& console) {
  const std::string text = ExplainField(path);
  if (!text.empty()) {
    *console.out << text;
    return 0;
  }
  const std::string nearest = NearestPath(path);
  return Finish(console, absl::InvalidArgumentError(absl::StrCat(
                             path, ": is no field of the job spec",
                             nearest.empty() ? "; birkhoff explain lists them all"
                                             : absl::StrCat("; did you mean ", nearest, "?"))));
}

}  // namespace

void AddExplain(CLI::App& verb, Invocation& invocation) {
  auto path = std::make_shared<std::string>();
  verb.add_option("field", *path, "A field or a section, e.g. model.residual; none: all")
      ->type_name(kFieldType);
  verb.callback([path, &invocation] {
    invocation.chosen = [path, &invocation] { return Explain(*path, invocation.console); };
  });
}

}  // namespace birkhoff
