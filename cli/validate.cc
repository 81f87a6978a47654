// birkhoff validate JOB.yaml: everything that is wrong with a job, or what it will be.
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/local_workers.h"
#include "cli/spec_flags.h"
#include "cli/verbs.h"
#include "core/base/disk.h"
#include "core/base/status_macros.h"
#include "core/spec/load.h"
#include "core/spec/model.h"
#include "core/spec/resolve.h"

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

// As birkhoff-worker would find them.
absl::Status FindGpus(const std::string& worker) {
  RETURN_IF_ERROR(LocalWorkers::CheckProgram(worker));
  std::string directory = std::filesystem::temp_directory_path() / "birkhoff-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat(directory, ": ", std::strerror(errno)));
  }
  const std::string answer = directory + "/devices";
  const absl::Status status = ListLocalGpus(worker, answer).status();
  PosixDisk disk;
  disk.RemoveFile(answer).IgnoreError();
  disk.RemoveDirectory(directory).IgnoreError();
  return status;
}

// What is wrong with this machine for the job; nothing where it has the device that is asked for.
std::vector<Problem> CheckDevice(const JobSpec& spec, const Invocation& invocation) {
  if (NeededDevice(spec) != DeviceKind::kCuda) return {};
  const absl::Status status = FindGpus(invocation.console.program_directory + "/birkhoff-worker");
  if (status.ok()) return {};
  const absl::string_view why = absl::StripPrefix(status.message(), "device: cuda: ");
  return {{"device", "cuda", absl::StrCat("a device of this machine: ", why),
           "--spec-only where the job runs on another machine"}};
}

int Validate(const SpecFile& file, const Invocation& invocation) {
  JobSpec spec;
  absl::Status status = ReadOrExplain(file, invocation, &spec);
  if (status.ok() && !file.spec_only) {
    const std::vector<Problem> problems = CheckDevice(spec, invocation);
    if (!problems.empty()) status = Explain(file, problems, invocation);
  }
  if (!status.ok()) return Finish(invocation.console, status);
  if (invocation.output == "json") {
    const nlohmann::ordered_json answer = {{"valid", true},
                                           {"problems", nlohmann::ordered_json::array()}};
    *invocation.console.out << answer.dump() << "\n";
  } else if (invocation.output == "yaml") {
    *invocation.console.out << JobSpecToYaml(spec);
  } else {
    *invocation.console.err << file.ShownPath() << ": valid (" << Summary(spec) << ")\n";
  }
  return 0;
}

}  // namespace

void AddValidate(CLI::App& verb, Invocation& invocation) {
  auto file = std::make_shared<SpecFile>();  // shared: the flags fill it, the verb reads it
  AddSpecFlags(verb, file.get());
  verb.add_flag("--spec-only", file->spec_only,
                "Do not look at the files that the spec names, nor at this machine's devices");
  verb.callback([file, &invocation] {
    invocation.chosen = [file, &invocation] { return Validate(*file, invocation); };
  });
}

}  // namespace birkhoff
