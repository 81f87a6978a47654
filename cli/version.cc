// birkhoff version: of the programs, and the devices that birkhoff-worker finds with them: what the
// CPU computes with, and GPUs.
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

// None where there is no birkhoff-worker to ask.
std::vector<ListedDevice> FindDevices(const Console& console) {
  const std::string program = console.program_directory + "/birkhoff-worker";
  if (!LocalWorkers::CheckProgram(program).ok()) return {};
  const std::string answer =
      std::filesystem::temp_directory_path() / absl::StrCat("birkhoff-devices.", ::getpid());
  const auto devices = ListLocalDevices(program, answer);
  ::unlink(answer.c_str());
  return devices.ok() ? devices->found : std::vector<ListedDevice>{};
}

int Print(const Invocation& invocation) {
  const std::vector<ListedDevice> devices = FindDevices(invocation.console);
  std::ostream& out = *invocation.console.out;
  if (invocation.output == "json") {
    nlohmann::ordered_json json = {{"version", kVersion},
                                   {"devices", nlohmann::ordered_json::array()}};
    for (const ListedDevice& device : devices) {
      json["devices"].push_back({{"name", device.name}, {"description", device.description}});
    }
    out << json.dump() << "\n";
  } else {
    out << "birkhoff " << kVersion << "\n";
    for (const ListedDevice& device : devices) {
      out << device.name << "  " << device.description << "\n";
    }
  }
  return 0;
}

}  // namespace

void AddVersion(CLI::App& verb, Invocation& invocation) {
  verb.callback([&invocation] { invocation.chosen = [&invocation] { return Print(invocation); }; });
}

}  // namespace birkhoff
