// birkhoff cancel JOB: an end at a committed checkpoint.
#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "cli/message_output.h"
#include "cli/service_client.h"
#include "cli/verbs.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

// The workers have left the job file in the output directory; the coordinator has it too.
std::string GoOnCommand(const v1::Job& job, const Invocation& invocation) {
  std::string birkhoff = ShellWord(invocation.console.command);
  if (invocation.server != kDefaultServer) {
    absl::StrAppend(&birkhoff, " --server ", ShellWord(invocation.server));
  }
  const std::string& directory = job.output_directory();
  if (job.attempt() > 0) {
    return absl::StrCat(birkhoff, " submit ", ShellWord(directory + "/job.yaml"), " --out ",
                        ShellWord(directory));
  }
  return absl::StrCat(birkhoff, " get ", job.name(), " -o yaml | sed '1,/^spec:/d; s/^  //' | ",
                      birkhoff, " submit - --out ", ShellWord(directory));
}

absl::Status Cancel(const std::string& name, const Invocation& invocation) {
  ASSIGN_OR_RETURN(const ServiceClient client, ServiceClient::Connect(invocation.server));
  ASSIGN_OR_RETURN(const v1::Job job, client.Cancel(JobName(name)));
  PrintJob(job, invocation.output, invocation.console);
  *invocation.console.err << "to go on" << (job.attempt() > 0 ? " once it has ended: " : ": ")
                          << GoOnCommand(job, invocation) << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddCancel(CLI::App& verb, Invocation& invocation) {
  auto name = std::make_shared<std::string>();
  verb.add_option("job", *name, "jobs/NAME, or NAME")->required();
  verb.callback([name, &invocation] {
    invocation.chosen = [name, &invocation] {
      return Finish(invocation.console, Cancel(*name, invocation));
    };
  });
}

}  // namespace birkhoff
