// birkhoff list: the jobs of a coordinator, newest first.
#include <CLI/CLI.hpp>

#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status List(const Program& program) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ServiceClient> client,
                   ServiceClient::Connect(program.server));
  const bool whole = program.output == "json" || program.output == "yaml";
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, client->List(whole));
  PrintJobs(jobs, program.output, program.console);
  return absl::OkStatus();
}

}  // namespace

void AddList(CLI::App& verb, Program& program) {
  verb.callback([&program] {
    program.chosen = [&program] { return Finish(program.console, List(program)); };
  });
}

}  // namespace birkhoff
