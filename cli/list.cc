// birkhoff list: the jobs of a coordinator, newest first.
#include <CLI/CLI.hpp>

#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status List(const Invocation& invocation) {
  ASSIGN_OR_RETURN(const ServiceClient client, ServiceClient::Connect(invocation.server));
  const bool whole = invocation.output == "json" || invocation.output == "yaml";
  ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, client.List(whole));
  PrintJobs(jobs, invocation.output, invocation.console);
  return absl::OkStatus();
}

}  // namespace

void AddList(CLI::App& verb, Invocation& invocation) {
  verb.callback([&invocation] {
    invocation.chosen = [&invocation] { return Finish(invocation.console, List(invocation)); };
  });
}

}  // namespace birkhoff
