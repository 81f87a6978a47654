// The life of `birkhoff run` after its files are in order.
#include "cli/local_run.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/disk.h"
#include "core/base/status_macros.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

constexpr absl::Duration kPatience = absl::Milliseconds(100);  // between looks at signals
constexpr absl::Duration kWorkerGrace = absl::Seconds(5);
constexpr int kUpdatesAtOnce = 100;

int64_t MachineMemoryBytes() {
  return int64_t{::sysconf(_SC_PHYS_PAGES)} * int64_t{::sysconf(_SC_PAGE_SIZE)};
}

}  // namespace

LocalRun::LocalRun(const Options& options, const Clock& clock, ShutdownSignals& signals,
                   ProgressView& view)
    : options_(options), clock_(clock), signals_(signals), view_(view) {}

absl::StatusOr<JobView> LocalRun::Run() {
  RETURN_IF_ERROR(StartAll());
  absl::StatusOr<JobView> end = Watch();
  view_.Close();
  end.ok() ? workers_->Stop(kWorkerGrace) : workers_->Kill();
  daemon_->Shutdown(absl::Seconds(1));
  return end;
}

absl::Status LocalRun::StartAll() {
  RETURN_IF_ERROR(LocalWorkers::CheckProgram(options_.worker_program));
  DaemonOptions daemon;
  daemon.listen = "127.0.0.1:0";
  daemon.metrics_listen = "127.0.0.1:0";
  daemon.store_path = ":memory:";  // checkpoints hold what must last
  ASSIGN_OR_RETURN(daemon_, Daemon::Start(daemon));

  const std::string logs = options_.output_directory + "/logs";
  PosixDisk disk;
  RETURN_IF_ERROR(disk.CreateDirectories(logs));
  LocalWorkers::Options workers;
  workers.program = options_.worker_program;
  workers.coordinator = daemon_->address();
  workers.log_directory = logs;
  ASSIGN_OR_RETURN(workers.devices,
                   LocalWorkers::FindDevices(options_.worker_program, logs,
                                             NeededDevice(options_.spec), NumRanks(options_.spec)));
  // What the machine has over the workers on it.
  workers.cpu_memory_bytes = MachineMemoryBytes() / NumRanks(options_.spec);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  workers.threads =
      options_.threads > 0 ? options_.threads : std::max(1, cores / NumRanks(options_.spec));
  workers_ = std::make_unique<LocalWorkers>(workers, clock_);
  RETURN_IF_ERROR(workers_->Start());

  SubmitRequest request;
  request.spec = options_.spec;
  request.output_directory = options_.output_directory;
  request.fresh = options_.fresh;
  request.changes = options_.changes;
  request.init_from = options_.init_from;
  ASSIGN_OR_RETURN(const JobView job, daemon_->coordinator().Submit(request));
  job_ = job.name;
  view_.Say(absl::StrCat(job_, ": ", NumRanks(options_.spec), " local workers, output in ",
                         options_.output_directory, ", metrics on http://",
                         daemon_->metrics_address(), "/metrics"));
  return absl::OkStatus();
}

absl::StatusOr<JobView> LocalRun::Watch() {
  Coordinator& coordinator = daemon_->coordinator();
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
    RETURN_IF_ERROR(HandleSignals());
    if (!IsOver(job.state)) RETURN_IF_ERROR(workers_->Supervise());
  }
}

void LocalRun::Show(const JobUpdate& update) {
  if (update.step) view_.Step(*update.step);
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
  const absl::Status status = daemon_->coordinator().Cancel(job_).status();
  return absl::IsFailedPrecondition(status) ? absl::OkStatus() : status;
}

}  // namespace birkhoff
