// One embedded service for all runs: its queue decides which goes next.
#include "cli/comparison_run.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/progress_view.h"
#include "core/base/printable.h"
#include "core/base/status_macros.h"
#include "core/format/checkpoint_root.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";                          // of a terminal
constexpr absl::Duration kBetweenLooks = absl::Milliseconds(100);  // between looks at signals

std::string JobOf(const ComparedRun& run) { return "jobs/" + run.spec.name; }

// Whether its last step is in a committed checkpoint.
absl::StatusOr<bool> IsFinished(Disk& disk, const ComparedRun& run) {
  ASSIGN_OR_RETURN(const std::vector<int64_t> steps,
                   ListCheckpoints(disk, run.directory + "/checkpoints"));
  return !steps.empty() && steps[0] >= run.spec.training.steps;
}

}  // namespace

ComparisonRun::ComparisonRun(const Options& options, const Clock& clock, Disk& disk,
                             ShutdownSignals& signals, const Console& console)
    : options_(options), clock_(clock), disk_(disk), signals_(signals), console_(console) {}

absl::Status ComparisonRun::Run(std::vector<ComparedRun>* runs) {
  RETURN_IF_ERROR(Open(runs));
  const auto over = [](const ComparedRun& run) { return run.over; };
  if (std::ranges::all_of(*runs, over)) return absl::OkStatus();
  LocalService::Options service;
  service.worker_program = options_.worker_program;
  service.log_directory = options_.directory + "/logs";
  service.device = NeededDevice((*runs)[0].spec);
  service.num_workers = options_.num_workers;
  service.threads = options_.threads;
  ASSIGN_OR_RETURN(service_, LocalService::Start(service, clock_));
  for (const ComparedRun& run : *runs) {
    if (!run.over) RETURN_IF_ERROR(Submit(run));
  }
  Say(absl::StrCat(runs->size(), " runs, ", std::ranges::count_if(*runs, over),
                   " of them finished before, ", options_.num_workers,
                   " local workers, metrics on ", "http://", service_->metrics_address(),
                   "/metrics"));
  const absl::Status status = Watch(runs);
  service_->Stop(/*clean=*/status.ok());
  return status;
}

absl::Status ComparisonRun::Open(std::vector<ComparedRun>* runs) {
  for (ComparedRun& run : *runs) {
    ASSIGN_OR_RETURN(
        directories_.emplace_back(),
        OutputDirectory::Open({run.directory, options_.fresh, {}, ""}, run.spec, disk_));
    ASSIGN_OR_RETURN(run.over, IsFinished(disk_, run));
    if (run.over) run.state = JobState::kSucceeded;
  }
  return absl::OkStatus();
}

absl::Status ComparisonRun::Submit(const ComparedRun& run) {
  SubmitRequest request;
  request.spec = run.spec;
  request.output_directory = run.directory;
  request.fresh = options_.fresh;
  return service_->coordinator().Submit(request).status();
}

absl::Status ComparisonRun::Watch(std::vector<ComparedRun>* runs) {
  for (;;) {
    // The first that is not over: whatever happens to it, or a while, is when all are looked at.
    const ComparedRun* waiting = nullptr;
    int64_t seen = 0;
    for (ComparedRun& run : *runs) {
      if (run.over) continue;
      ASSIGN_OR_RETURN(const int64_t latest, Look(&run));
      if (run.over || waiting != nullptr) continue;
      waiting = &run;
      seen = latest;
    }
    Show(*runs);
    if (waiting == nullptr) return absl::OkStatus();
    RETURN_IF_ERROR(HandleSignals(*runs));
    RETURN_IF_ERROR(service_->workers().Supervise());
    RETURN_IF_ERROR(
        service_->coordinator().WaitForUpdates(JobOf(*waiting), seen, 1, kBetweenLooks).status());
  }
}

absl::StatusOr<int64_t> ComparisonRun::Look(ComparedRun* run) {
  ASSIGN_OR_RETURN(const JobView job, service_->coordinator().GetJob(JobOf(*run)));
  run->state = job.state;
  run->reason = job.reason;
  run->exit_code = job.exit_code;
  run->over = IsOver(job.state);
  if (job.last_step) last_steps_[run->name] = *job.last_step;
  // No other workers will ever come.
  if (job.reason.code == kNoRoom) return absl::FailedPreconditionError(job.reason.sentence);
  if (run->over) {
    std::string line = absl::StrCat(run->name, ": ", JobStateName(run->state));
    if (job.last_step) {
      absl::StrAppend(&line, absl::StrFormat(" after step %d, loss %.4f", job.last_step->step,
                                             job.last_step->loss));
    }
    if (run->state == JobState::kFailed)
      absl::StrAppend(&line, ": ", Printable(run->reason.sentence));
    Say(line);
  }
  return job.last_event_id;
}

absl::Status ComparisonRun::HandleSignals(const std::vector<ComparedRun>& runs) {
  const int count = signals_.Count();
  if (count >= 2) {
    return absl::CancelledError("killed before the checkpoints were committed; those before stay");
  }
  if (count == 0 || stopping_) return absl::OkStatus();
  stopping_ = true;
  Say("stopping with a checkpoint of each run (once more to kill)");
  for (const ComparedRun& run : runs) {
    if (run.over) continue;
    // It may have ended in the meantime; then its end is what counts.
    const absl::Status status = service_->coordinator().Cancel(JobOf(run)).status();
    if (!absl::IsFailedPrecondition(status)) RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// "3 of 12 done   hc-s42 step 55/300 loss 2.95   mhc-s42 step 54/300 loss 2.91"
void ComparisonRun::Show(const std::vector<ComparedRun>& runs) {
  if (!console_.terminal) return;
  const auto over = [](const ComparedRun& run) { return run.over; };
  std::string line = absl::StrCat(std::ranges::count_if(runs, over), " of ", runs.size(), " done");
  for (const ComparedRun& run : runs) {
    const auto step = last_steps_.find(run.name);
    if (run.over || step == last_steps_.end()) continue;
    absl::StrAppend(&line,
                    absl::StrFormat("   %s step %d/%d loss %.4f", run.name, step->second.step,
                                    run.spec.training.steps, step->second.loss));
  }
  line = line.substr(0, TerminalWidth(STDERR_FILENO) - 1);
  if (line == shown_) return;
  *console_.err << kClearLine << line << std::flush;
  shown_ = line;
}

void ComparisonRun::Say(const std::string& line) {
  if (!shown_.empty()) *console_.err << kClearLine;
  shown_.clear();
  *console_.err << line << "\n" << std::flush;
}

}  // namespace birkhoff
