// birkhoff submit JOB.yaml: hands a job to a coordinator.
#include <CLI/CLI.hpp>
#include <random>

#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "cli/message_output.h"
#include "cli/spec_flags.h"
#include "cli/verbs.h"
#include "cli/watch_job.h"
#include "core/base/status_macros.h"
#include "core/net/convert.h"

namespace birkhoff {
namespace {

struct SubmitOptions {
  SpecFile file;
  std::string out;
  int priority = 0;
  Beginning beginning;
  bool watch = false;
  bool validate_only = false;
};

// A random UUID (RFC 9562, version 4): repeating the request cannot make a second job.
std::string NewRequestId() {
  std::random_device random;
  const uint32_t a = random(), b = random(), c = random(), d = random();
  return absl::StrFormat("%08x-%04x-%04x-%04x-%04x%08x", a, b >> 16, (b & 0x0fff) | 0x4000,
                         (c >> 16 & 0x3fff) | 0x8000, c & 0xffff, d);
}

absl::StatusOr<v1::CreateJobRequest> MakeRequest(const SubmitOptions& options,
                                                 const Invocation& invocation) {
  Beginning beginning = options.beginning;
  RETURN_IF_ERROR(CheckOrExplain(invocation, &beginning));
  JobSpec spec;
  RETURN_IF_ERROR(ReadOrExplain(options.file, invocation, &spec));
  v1::CreateJobRequest request;
  request.set_request_id(NewRequestId());
  ToProto(spec, request.mutable_spec());
  request.set_priority(options.priority);
  // A slash at the end makes it the parent, which only the default means to be.
  request.set_output_directory(
      options.out.empty() ? AbsolutePath("runs") + "/"
                          : std::string(absl::StripSuffix(AbsolutePath(options.out), "/")));
  request.set_fresh(beginning.fresh);
  for (const std::string& field : beginning.changes) request.add_changes(field);
  request.set_init_from(beginning.init_from);
  request.set_validate_only(options.validate_only);
  return request;
}

absl::StatusOr<ExitCode> Submit(const SubmitOptions& options, const Invocation& invocation) {
  ASSIGN_OR_RETURN(const v1::CreateJobRequest request, MakeRequest(options, invocation));
  ASSIGN_OR_RETURN(const ServiceClient client, ServiceClient::Connect(invocation.server));
  ASSIGN_OR_RETURN(const v1::Job job, client.Create(request));
  if (options.validate_only) {
    *invocation.console.err << options.file.ShownPath() << ": valid, says the coordinator\n";
    return ExitCode::kDone;
  }
  if (options.watch) return WatchJob(client, job.name(), invocation);
  if (invocation.output.empty()) {
    *invocation.console.out << job.name() << "\n";
  } else {
    PrintJob(job, invocation.output, invocation.console);
  }
  return ExitCode::kDone;
}

}  // namespace

void AddSubmit(CLI::App& verb, Invocation& invocation) {
  auto options = std::make_shared<SubmitOptions>();
  AddSpecFlags(verb, &options->file);
  verb.add_option("--out", options->out,
                  "Output directory, as the workers see it; runs/JOB where not given")
      ->type_name("DIR");
  verb.add_option("--priority", options->priority, "Larger goes first");
  AddBeginningFlags(verb, &options->beginning);
  verb.add_flag("--watch", options->watch, "Follow the job to its end");
  verb.add_flag("--validate-only", options->validate_only, "Let the coordinator judge, no more");
  verb.add_flag("--spec-only", options->file.spec_only,
                "Do not look at the files that the spec names: they are the workers'");
  verb.callback([options, &invocation] {
    invocation.chosen = [options, &invocation] {
      const absl::StatusOr<ExitCode> code = Submit(*options, invocation);
      return code.ok() ? static_cast<int>(*code) : Finish(invocation.console, code.status());
    };
  });
}

}  // namespace birkhoff
