// birkhoff version: of the programs, and the GPUs that birkhoff-worker finds with them.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "cli/local_workers.h"
#include "cli/verbs.h"
#include "core/base/version.h"

namespace birkhoff {
namespace {

// None where there is no GPU, or no birkhoff-worker to ask.
std::vector<LocalGpu> FindGpus(const Console& console) {
  const std::string program = console.program_directory + "/birkhoff-worker";
  if (!LocalWorkers::CheckProgram(program).ok()) return {};
  const std::string answer =
      std::filesystem::temp_directory_path() / absl::StrCat("birkhoff-devices.", ::getpid());
  const auto gpus = ListLocalGpus(program, answer);
  ::unlink(answer.c_str());
  return gpus.ok() ? *gpus : std::vector<LocalGpu>{};
}

int Print(const Program& program) {
  const std::vector<LocalGpu> gpus = FindGpus(program.console);
  std::ostream& out = *program.console.out;
  if (program.output == "json") {
    nlohmann::ordered_json json = {{"version", kVersion},
                                   {"devices", nlohmann::ordered_json::array()}};
    for (const LocalGpu& gpu : gpus) {
      json["devices"].push_back({{"name", gpu.name}, {"description", gpu.description}});
    }
    out << json.dump() << "\n";
  } else {
    out << "birkhoff " << kVersion << "\n";
    for (const LocalGpu& gpu : gpus) out << gpu.name << "  " << gpu.description << "\n";
  }
  return 0;
}

}  // namespace

void AddVersion(CLI::App& verb, Program& program) {
  verb.callback([&program] { program.chosen = [&program] { return Print(program); }; });
}

}  // namespace birkhoff
