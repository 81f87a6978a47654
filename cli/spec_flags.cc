// Job file arguments, and problems for people or as JSON.
#include "cli/spec_flags.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "core/spec/spec_change.h"
#include "core/spec/validate.h"

namespace birkhoff {
namespace {

void ShowProblems(const std::vector<Problem>& problems, const Invocation& invocation) {
  if (invocation.output != "json") {
    for (const Problem& problem : problems) {
      *invocation.console.err << ProblemToString(problem) << "\n";
    }
    return;
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Problem& problem : problems) {
    list.push_back({{"field", problem.field},
                    {"value", problem.value},
                    {"allowed", problem.allowed},
                    {"remedy", problem.remedy}});
  }
  const nlohmann::ordered_json answer = {{"valid", false}, {"problems", list}};
  *invocation.console.out << answer.dump(-1, ' ', false,
                                         nlohmann::ordered_json::error_handler_t::replace)
                          << "\n";
}

}  // namespace

void AddSpecFlags(CLI::App& verb, SpecFile* file) {
  verb.add_option("job", file->path, "Job file (YAML); - reads the standard input")
      ->required()
      ->type_name("FILE");
  verb.add_option(
          "--set", file->overrides,
          "Replaces one field or section, e.g. --set model.residual.kind=hc; can be repeated")
      ->type_name(kAssignmentType)
      ->take_all()
      ->allow_extra_args(false);
}

absl::Status ReadOrExplain(const SpecFile& file, const Invocation& invocation, JobSpec* spec) {
  PosixDisk disk;
  SpecFile given = file;
  given.in = invocation.console.in;
  const std::vector<Problem> problems = ReadSpecFile(given, disk, spec);
  if (problems.empty()) {
    std::vector<std::string> notices = SpecNotices(*spec);
    if (!file.spec_only) notices.push_back(ValidationNotice(*spec));
    for (const std::string& notice : notices) {
      if (!notice.empty()) *invocation.console.err << file.ShownPath() << ": " << notice << "\n";
    }
    return absl::OkStatus();
  }
  return Explain(file, problems, invocation);
}

absl::Status Explain(const SpecFile& file, const std::vector<Problem>& problems,
                     const Invocation& invocation) {
  ShowProblems(problems, invocation);
  return absl::InvalidArgumentError(absl::StrCat(file.ShownPath(), ": ", problems.size(),
                                                 problems.size() == 1 ? " problem" : " problems"));
}

void AddBeginningFlags(CLI::App& verb, Beginning* beginning) {
  verb.add_flag("--fresh", beginning->fresh, "Start over: forget what the directory holds");
  verb.add_option("--change", beginning->changes,
                  "Resume although this field, or a section, is another than there, e.g. "
                  "--change optimizer.lr; its value stands in the job file or in --set")
      ->type_name(kFieldType)
      ->take_all()
      ->allow_extra_args(false);
  verb.add_option("--init-from", beginning->init_from,
                  "Begin a new run with the weights of a checkpoint: its directory, a directory of "
                  "checkpoints (the newest), or an output directory")
      ->type_name("DIR");
}

absl::Status CheckOrExplain(const Invocation& invocation, Beginning* beginning) {
  beginning->init_from = AbsolutePath(beginning->init_from);
  const std::vector<Problem> problems = CheckAskedChanges(beginning->changes, "--change");
  if (problems.empty()) return absl::OkStatus();
  ShowProblems(problems, invocation);
  return absl::InvalidArgumentError("--change: not every field can change");
}

}  // namespace birkhoff
