// birkhoff run JOB.yaml: trains on this machine, without a daemon.
#include <unistd.h>

#include <algorithm>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/local_run.h"
#include "cli/output_directory.h"
#include "cli/spec_flags.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

struct RunOptions {
  SpecFile file;
  std::string out;
  int threads = 0;
  Beginning beginning;
};

// As one word of a shell: in quotes where it needs them; a quote inside leaves them and comes back.
std::string Word(const std::string& text) {
  const auto plain = [](char c) {
    return absl::ascii_isalnum(c) || absl::StrContains("%+,-./:=@_", c);
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return text;
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// The command that goes on where this run has stopped.
std::string ResumeCommand(const RunOptions& options, const std::string& out) {
  std::string command = absl::StrCat("birkhoff run ", Word(options.file.path));
  for (const std::string& text : options.file.overrides) {
    absl::StrAppend(&command, " --set ", Word(text));
  }
  // Until a checkpoint of this run stands there, which knows them.
  for (const std::string& field : options.beginning.changes) {
    absl::StrAppend(&command, " --change ", Word(field));
  }
  if (const std::string& weights = options.beginning.init_from; !weights.empty()) {
    absl::StrAppend(&command, " --init-from ", Word(weights));
  }
  return absl::StrCat(command, " --out ", Word(out));
}

void ShowEnd(const JobView& job, const RunOptions& options, const std::string& out,
             const Program& program) {
  std::ostream& err = *program.console.err;
  if (job.state == JobState::kSucceeded && job.last_step) {
    const StepReport& last = *job.last_step;
    err << absl::StrFormat("%s: done after step %d, loss %.4f", job.name, last.step, last.loss);
    err << "; see " << out << "/metrics.jsonl\n";
  } else if (job.state == JobState::kSucceeded) {
    err << job.name << ": was done already; see " << out << "/metrics.jsonl\n";
  } else if (job.state == JobState::kCancelled) {
    err << (job.checkpoint ? absl::StrCat("checkpoint of step ", job.checkpoint->step, " committed")
                           : std::string("stopped before the first checkpoint of this run"));
    err << "; to go on: " << ResumeCommand(options, out) << "\n";
  } else {
    err << "birkhoff: " << job.name << " failed: " << Printable(job.reason.sentence) << "; logs in "
        << out << "/logs\n";
  }
}

void ShowEndAsJson(const JobView& job, const std::string& out, const Program& program) {
  nlohmann::ordered_json end;
  end["name"] = job.name;
  end["state"] = JobStateName(job.state);
  end["exit_code"] = static_cast<int>(job.exit_code);
  end["reason"] = job.reason.sentence;
  end["attempts"] = job.attempt;
  end["output_directory"] = out;
  end["last_step"] = job.last_step ? nlohmann::ordered_json::parse(StepReportToJson(*job.last_step))
                                   : nlohmann::ordered_json(nullptr);
  *program.console.out << end.dump() << "\n";
}

absl::StatusOr<JobView> Train(const RunOptions& options, const JobSpec& spec,
                              const OutputDirectory& directory, const Program& program) {
  const SystemClock clock;
  ShutdownSignals signals;
  ProgressView view(*program.console.err, program.console.terminal, TerminalWidth(STDERR_FILENO),
                    spec.training.steps);
  if (directory.resumes()) view.Say("resuming what is in " + directory.path());
  const Beginning& beginning = options.beginning;
  LocalRun run({spec, directory.path(), program.console.program_directory + "/birkhoff-worker",
                options.threads, beginning.fresh, beginning.changes, beginning.init_from},
               clock, signals, view);
  return run.Run();
}

absl::StatusOr<ExitCode> RunJob(RunOptions options, const Program& program) {
  RETURN_IF_ERROR(CheckOrExplain(program, &options.beginning));
  JobSpec spec;
  RETURN_IF_ERROR(ReadOrExplain(options.file, program, &spec));
  const std::string out =
      AbsolutePath(options.out.empty() ? absl::StrCat("runs/", spec.name) : options.out);
  PosixDisk disk;
  ASSIGN_OR_RETURN(const std::unique_ptr<OutputDirectory> directory,
                   OutputDirectory::Open({out, options.beginning.fresh, options.beginning.changes,
                                          options.beginning.init_from},
                                         spec, disk));
  const absl::StatusOr<JobView> job = Train(options, spec, *directory, program);
  if (!job.ok()) {
    *program.console.err << "to go on: " << ResumeCommand(options, out) << "\n";
    return job.status();
  }
  ShowEnd(*job, options, out, program);
  if (program.output == "json") ShowEndAsJson(*job, out, program);
  return job->exit_code;
}

}  // namespace

void AddRun(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("run", "Train a job on this machine");
  auto options = std::make_shared<RunOptions>();
  AddSpecFlags(*verb, &options->file);
  verb->add_option("--out", options->out, "Output directory; runs/NAME where not given");
  verb->add_option("--threads", options->threads,
                   "of each worker on the CPU; default the cores over the workers")
      ->check(CLI::Range(1, 1024));
  AddBeginningFlags(*verb, &options->beginning);
  verb->callback([options, &program] {
    program.chosen = [options, &program] {
      const absl::StatusOr<ExitCode> code = RunJob(*options, program);
      return code.ok() ? static_cast<int>(*code) : Finish(program.console, code.status());
    };
  });
}

}  // namespace birkhoff
