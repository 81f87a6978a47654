// birkhoff get JOB: one job.
#include <CLI/CLI.hpp>

#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status Get(const std::string& name, const Program& program) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ServiceClient> client,
                   ServiceClient::Connect(program.server));
  ASSIGN_OR_RETURN(const v1::Job job, client->Get(JobName(name)));
  PrintJob(job, program.output, program.console);
  return absl::OkStatus();
}

}  // namespace

void AddGet(CLI::App& verb, Program& program) {
  auto name = std::make_shared<std::string>();
  verb.add_option("job", *name, "jobs/NAME, or NAME")->required();
  verb.callback([name, &program] {
    program.chosen = [name, &program] { return Finish(program.console, Get(*name, program)); };
  });
}

}  // namespace birkhoff
