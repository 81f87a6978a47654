// birkhoff workers: the workers that a coordinator knows.
#include <CLI/CLI.hpp>

#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status Workers(const Program& program) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ServiceClient> client,
                   ServiceClient::Connect(program.server));
  ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, client->ListWorkers());
  PrintWorkers(workers, program.output, program.console);
  return absl::OkStatus();
}

}  // namespace

void AddWorkers(CLI::App& verb, Program& program) {
  verb.callback([&program] {
    program.chosen = [&program] { return Finish(program.console, Workers(program)); };
  });
}

}  // namespace birkhoff
