// The life of `birkhoff run` after its files are in order.
#include "cli/local_run.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kPatience = absl::Milliseconds(100);  // between looks at signals
constexpr int kUpdatesAtOnce = 100;

}  // namespace

LocalRun::LocalRun(const Options& options, const Clock& clock, ShutdownSignals& signals,
                   ProgressView& view)
    : options_(options), clock_(clock), signals_(signals), view_(view) {}

absl::StatusOr<JobView> LocalRun::Run() {
  RETURN_IF_ERROR(StartAll());
  absl::StatusOr<JobView> end = Watch();
  view_.Close();
  service_->Stop(/*clean=*/end.ok());
  return end;
}

absl::Status LocalRun::StartAll() {
  ASSIGN_OR_RETURN(
      service_,
      LocalService::Start({options_.worker_program, options_.output_directory + "/logs",
                           NeededDevice(options_.spec), NumRanks(options_.spec), options_.threads,
                           options_.graphs, options_.card, options_.page_listen},
                          clock_));
  SubmitRequest request;
  request.spec = options_.spec;
  request.output_directory = options_.output_directory;
  request.fresh = options_.fresh;
  request.changes = options_.changes;
  request.init_from = options_.init_from;
  ASSIGN_OR_RETURN(const JobView job, service_->coordinator().Submit(request));
  job_ = job.name;
  view_.Say(absl::StrCat(job_, ": ", NumRanks(options_.spec), " local workers, output in ",
                         options_.output_directory, ", metrics on http://",
                         service_->metrics_address(), "/metrics"));
  if (const std::string page = service_->page_address(); !page.empty()) {
    view_.Say(absl::StrCat("page on http://", page, "/"));
  }
  return absl::OkStatus();
}

absl::StatusOr<JobView> LocalRun::Watch() {
  Coordinator& coordinator = service_->coordinator();
  for (int64_t seen = 0;;) {
    ASSIGN_OR_RETURN(const std::vector<JobUpdate> updates,
                     coordinator.WaitForUpdates(job_, seen, kUpdatesAtOnce, kPatience));
    for (const JobUpdate& update : updates) {
      Show(update);
      seen = update.id;
    }
    ASSIGN_OR_RETURN(const JobView job, coordinator.GetJob(job_));
    if (IsOver(job.state) && seen >= job.last_event_id) return job;
    // No other workers will ever come.
    if (job.reason.code == kNoRoom) return absl::FailedPreconditionError(job.reason.sentence);
    view_.Tick(clock_.WallTime());
    RETURN_IF_ERROR(HandleSignals());
    if (!IsOver(job.state)) RETURN_IF_ERROR(service_->workers().Supervise());
  }
}

void LocalRun::Show(const JobUpdate& update) {
  if (update.step) view_.Step(*update.step, update.time);
  if (update.checkpoint) view_.Committed(update.checkpoint->step);
  if (update.failed_checkpoint) {
    const JobUpdate::FailedCheckpoint& failed = *update.failed_checkpoint;
    view_.CheckpointFailed(failed.rank, failed.step, failed.reason);
  }
  if (update.notice && !update.state) view_.Say(update.notice->sentence);
  if (update.exited && update.exited->code != ExitCode::kDone &&
      update.exited->code != ExitCode::kStopped) {
    view_.RankLeft(update.exited->rank, update.attempt, update.exited->reason);
  }
  if (update.state && update.state->state != JobState::kSucceeded) {
    const std::string& why = update.state->reason.sentence;
    view_.Say(absl::StrCat(JobStateName(update.state->state), why.empty() ? "" : ": ", why));
  }
}

absl::Status LocalRun::HandleSignals() {
  const int count = signals_.Count();
  if (count >= 2) {
    return absl::CancelledError("killed before the checkpoint was committed; the one before stays");
  }
  if (count == 0 || stopping_) return absl::OkStatus();
  stopping_ = true;
  view_.Say("stopping after this step with a checkpoint (once more to kill)");
  // The job may have ended in the meantime; then its end is what counts.
  const absl::Status status = service_->coordinator().Cancel(job_).status();
  return absl::IsFailedPrecondition(status) ? absl::OkStatus() : status;
}

}  // namespace birkhoff
