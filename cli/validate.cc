// birkhoff validate JOB.yaml: everything that is wrong with a job, or what it will be.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/spec_flags.h"
#include "core/spec/load.h"
#include "core/spec/model.h"

namespace birkhoff {
namespace {

std::string Summary(const JobSpec& spec) {
  // The size is unknown while the vocabulary is (--spec-only with a SentencePiece tokenizer).
  const std::string parameters =
      spec.model.vocab_size == 0
          ? std::string()
          : absl::StrCat(ShortCount(static_cast<double>(NumParameters(spec.model))),
                         " parameters, ");
  return absl::StrCat(
      parameters, NumSubLayers(spec.model), " sub-layers, ", NumRanks(spec),
      NumRanks(spec) == 1 ? " worker, " : " workers, ", spec.training.steps, " steps of ",
      int64_t{spec.training.global_batch_size} * spec.training.sequence_length, " tokens");
}

int Validate(const SpecFile& file, const Program& program) {
  JobSpec spec;
  if (const absl::Status status = ReadOrExplain(file, program, &spec); !status.ok()) {
    return Finish(program.console, status);
  }
  if (program.output == "json") {
    const nlohmann::ordered_json answer = {{"valid", true},
                                           {"problems", nlohmann::ordered_json::array()}};
    *program.console.out << answer.dump() << "\n";
  } else if (program.output == "yaml") {
    *program.console.out << JobSpecToYaml(spec);
  } else {
    *program.console.err << file.path << ": valid (" << Summary(spec) << ")\n";
  }
  return 0;
}

}  // namespace

void AddValidate(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("validate", "Say everything that is wrong with a job file");
  auto file = std::make_shared<SpecFile>();  // shared: the flags fill it, the verb reads it
  AddSpecFlags(*verb, file.get());
  verb->add_flag("--spec-only", file->spec_only, "Do not look at the files that the spec names");
  verb->callback(
      [file, &program] { program.chosen = [file, &program] { return Validate(*file, program); }; });
}

}  // namespace birkhoff
