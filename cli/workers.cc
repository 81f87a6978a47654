// birkhoff workers: the workers that a coordinator knows.
#include <CLI/CLI.hpp>

#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

absl::Status Workers(const Invocation& invocation) {
  ASSIGN_OR_RETURN(const ServiceClient client, ServiceClient::Connect(invocation.server));
  ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, client.ListWorkers());
  PrintWorkers(workers, invocation.output, invocation.console);
  return absl::OkStatus();
}

}  // namespace

void AddWorkers(CLI::App& verb, Invocation& invocation) {
  verb.callback([&invocation] {
    invocation.chosen = [&invocation] { return Finish(invocation.console, Workers(invocation)); };
  });
}

}  // namespace birkhoff
