// birkhoff watch JOB: a job's events as they come, until it ends; exits with the job's exit code.
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "cli/message_output.h"
#include "cli/progress_view.h"
#include "cli/verbs.h"
#include "cli/watch_job.h"
#include "core/base/status_macros.h"
#include "core/net/convert.h"

namespace birkhoff {
namespace {

constexpr int kReconnects = 30;  // one per second

void Show(const v1::JobEvent& event, ProgressView* view) {
  if (event.has_step()) view->Step(FromProto(event.step()), FromProto(event.time()));
  if (event.has_checkpoint()) view->Committed(event.checkpoint().step());
  if (event.has_checkpoint_failed()) {
    const v1::JobEvent::CheckpointFailed& failed = event.checkpoint_failed();
    view->CheckpointFailed(failed.rank(), failed.step(), failed.reason());
  }
  // Where it is the reason too, it is said below.
  if (event.has_noticed() && !event.has_state_changed()) view->Say(event.noticed().sentence());
  if (event.has_rank_exited() && event.rank_exited().exit_code() != 0 &&
      event.rank_exited().exit_code() != static_cast<int>(ExitCode::kStopped)) {
    view->RankLeft(event.rank_exited().rank(), event.attempt(), event.rank_exited().reason());
  }
  if (!event.has_state_changed()) return;
  const std::string& why = event.state_changed().reason().sentence();
  view->Say(absl::StrCat(StateName(event.state_changed().state()), why.empty() ? "" : ": ", why));
}

absl::Status Watch(const std::string& name, const Invocation& invocation, ExitCode* code) {
  ASSIGN_OR_RETURN(const ServiceClient client, ServiceClient::Connect(invocation.server));
  ASSIGN_OR_RETURN(*code, WatchJob(client, name, invocation));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ExitCode> WatchJob(const ServiceClient& client, const std::string& name,
                                  const Invocation& invocation) {
  ASSIGN_OR_RETURN(const v1::Job job, client.Get(name));
  absl::StatusOr<JobSpec> spec = FromProto(job.spec());
  if (!spec.ok()) {  // of a newer coordinator
    spec = JobSpec();
    spec->training.steps = job.total_steps();
  }
  ProgressView view({.out = invocation.console.out,
                     .terminal = ::isatty(STDOUT_FILENO) == 1,
                     .unicode = invocation.console.unicode,
                     .width = [] { return TerminalWidth(STDOUT_FILENO); },
                     .start = FromProto(job.create_time())},
                    *spec);
  int64_t seen = 0;
  const auto visit = [&](const v1::JobEvent& event) {
    seen = event.event_id();
    if (invocation.output == "json") {
      *invocation.console.out << MessageToJson(event) << "\n" << std::flush;
    } else {
      Show(event, &view);
    }
    return true;
  };
  absl::Status status = client.Watch(name, seen, visit);
  for (int i = 0; absl::IsUnavailable(status) && i < kReconnects; ++i) {
    ::poll(nullptr, 0, 1000);
    const int64_t before = seen;
    status = client.Watch(name, seen, visit);
    if (seen > before) i = -1;
  }
  view.Close();
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(const v1::Job end, client.Get(name));
  return ExitCodeFromNumber(end.exit_code());
}

void AddWatch(CLI::App& verb, Invocation& invocation) {
  auto name = std::make_shared<std::string>();
  verb.add_option("job", *name, "jobs/NAME, or NAME")->required();
  verb.callback([name, &invocation] {
    invocation.chosen = [name, &invocation] {
      ExitCode code = ExitCode::kDone;
      const absl::Status status = Watch(JobName(*name), invocation, &code);
      return status.ok() ? static_cast<int>(code) : Finish(invocation.console, status);
    };
  });
}

}  // namespace birkhoff
