// birkhoff get JOB: one job.
#include <CLI/CLI.hpp>

#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status Get(const std::string& name, const Invocation& invocation) {
  ASSIGN_OR_RETURN(const ServiceClient client, ServiceClient::Connect(invocation.server));
  ASSIGN_OR_RETURN(const v1::Job job, client.Get(JobName(name)));
  PrintJob(job, invocation.output, invocation.console);
  return absl::OkStatus();
}

}  // namespace

void AddGet(CLI::App& verb, Invocation& invocation) {
  auto name = std::make_shared<std::string>();
  verb.add_option("job", *name, "jobs/NAME, or NAME")->required();
  verb.callback([name, &invocation] {
    invocation.chosen = [name, &invocation] {
      return Finish(invocation.console, Get(*name, invocation));
    };
  });
}

}  // namespace birkhoff
