// birkhoff run JOB.yaml: trains on this machine, without a daemon.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/card_file.h"
#include "cli/local_run.h"
#include "cli/output_directory.h"
#include "cli/spec_flags.h"
#include "cli/verbs.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

constexpr char kPageListen[] = "127.0.0.1:0";

struct RunOptions {
  SpecFile file;
  std::string out;
  int threads = 0;
  bool graphs = true;
  std::string card;
  Beginning beginning;
  bool page = false;
};

// The command that goes on where this run has stopped.
std::string ResumeCommand(const RunOptions& options, const std::string& out,
                          const Invocation& invocation) {
  // What came through a pipe is gone; the whole of it, --set included, stands in job.yaml.
  const bool gone = options.file.IsPipe();
  std::string command = absl::StrCat(ShellWord(invocation.console.command), " run ",
                                     ShellWord(gone ? out + "/job.yaml" : options.file.path));
  for (const std::string& text : options.file.overrides) {
    if (!gone) absl::StrAppend(&command, " --set ", ShellWord(text));
  }
  // Until a checkpoint of this run stands there, which knows them.
  for (const std::string& field : options.beginning.changes) {
    absl::StrAppend(&command, " --change ", ShellWord(field));
  }
  if (const std::string& weights = options.beginning.init_from; !weights.empty()) {
    absl::StrAppend(&command, " --init-from ", ShellWord(weights));
  }
  // The same algorithms, the same bits.
  if (!options.card.empty()) absl::StrAppend(&command, " --card ", ShellWord(options.card));
  return absl::StrCat(command, " --out ", ShellWord(out));
}

void ShowEnd(const JobView& job, const RunOptions& options, const std::string& out,
             const Invocation& invocation) {
  std::ostream& err = *invocation.console.err;
  if (job.state == JobState::kSucceeded && job.last_step) {
    const StepReport& last = *job.last_step;
    err << absl::StrFormat("%s: done after step %d, loss %.4f", job.name, last.step, last.loss);
    err << "; see " << out << "/metrics.jsonl\n";
  } else if (job.state == JobState::kSucceeded) {
    err << job.name << ": was done already; see " << out << "/metrics.jsonl\n";
  } else if (job.state == JobState::kCancelled) {
    err << (job.checkpoint ? absl::StrCat("checkpoint of step ", job.checkpoint->step, " committed")
                           : std::string("stopped before the first checkpoint of this run"));
    err << "; to go on: " << ResumeCommand(options, out, invocation) << "\n";
  } else {
    err << "birkhoff: " << job.name << " failed: " << Printable(job.reason.sentence) << "; logs in "
        << out << "/logs\n";
  }
}

void ShowEndAsJson(const JobView& job, const std::string& out, const Invocation& invocation) {
  nlohmann::ordered_json end;
  end["name"] = job.name;
  end["state"] = JobStateName(job.state);
  end["exit_code"] = static_cast<int>(job.exit_code);
  end["reason"] = job.reason.sentence;
  end["attempts"] = job.attempt;
  end["output_directory"] = out;
  end["last_step"] = job.last_step ? nlohmann::ordered_json::parse(StepReportToJson(*job.last_step))
                                   : nlohmann::ordered_json(nullptr);
  *invocation.console.out << end.dump() << "\n";
}

absl::StatusOr<JobView> Train(const RunOptions& options, const JobSpec& spec,
                              const OutputDirectory& directory, const Invocation& invocation) {
  const SystemClock clock;
  ShutdownSignals signals;
  ProgressView view({.out = invocation.console.err,
                     .terminal = invocation.console.terminal,
                     .unicode = invocation.console.unicode,
                     .width = [] { return TerminalWidth(STDERR_FILENO); },
                     .start = clock.WallTime()},
                    spec);
  if (directory.resumes()) view.Say("resuming what is in " + directory.path());
  const Beginning& beginning = options.beginning;
  LocalRun run({spec, directory.path(), invocation.console.program_directory + "/birkhoff-worker",
                options.threads, options.graphs, AbsolutePath(options.card), beginning.fresh,
                beginning.changes, beginning.init_from, options.page ? kPageListen : ""},
               clock, signals, view);
  return run.Run();
}

absl::StatusOr<ExitCode> RunJob(RunOptions options, const Invocation& invocation) {
  RETURN_IF_ERROR(CheckOrExplain(invocation, &options.beginning));
  JobSpec spec;
  RETURN_IF_ERROR(ReadOrExplain(options.file, invocation, &spec));
  const std::string out =
      AbsolutePath(options.out.empty() ? absl::StrCat("runs/", spec.name) : options.out);
  PosixDisk disk;
  if (!options.card.empty()) RETURN_IF_ERROR(ReadCardFile(disk, options.card).status());
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputDirectory> directory,
                   OutputDirectory::Open({out, options.beginning.fresh, options.beginning.changes,
                                          options.beginning.init_from},
                                         spec, disk));
  const absl::StatusOr<JobView> job = Train(options, spec, *directory, invocation);
  if (!job.ok()) {
    *invocation.console.err << "to go on: " << ResumeCommand(options, out, invocation) << "\n";
    return job.status();
  }
  ShowEnd(*job, options, out, invocation);
  if (invocation.output == "json") ShowEndAsJson(*job, out, invocation);
  return job->exit_code;
}

}  // namespace

void AddRun(CLI::App& verb, Invocation& invocation) {
  auto options = std::make_shared<RunOptions>();
  AddSpecFlags(verb, &options->file);
  verb.add_option("--out", options->out, "Output directory; runs/NAME where not given")
      ->type_name("DIR");
  verb.add_option("--threads", options->threads,
                  "Of each worker on the CPU; default the cores over the workers")
      ->check(CLI::Range(1, 1024));
  verb.add_flag("!--no-graphs", options->graphs,
                "Launch every kernel of each step on a GPU, where default is one graph of them");
  verb.add_option("--card", options->card,
                  "Card file of the GPUs, whose algorithms their products compute with")
      ->type_name("FILE");
  AddBeginningFlags(verb, &options->beginning);
  verb.add_flag("--page", options->page,
                "Serve a page with live charts while it runs; its address is said");
  verb.callback([options, &invocation] {
    invocation.chosen = [options, &invocation] {
      const absl::StatusOr<ExitCode> code = RunJob(*options, invocation);
      return code.ok() ? static_cast<int>(*code) : Finish(invocation.console, code.status());
    };
  });
}

}  // namespace birkhoff
