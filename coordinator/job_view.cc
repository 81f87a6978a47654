// Updates are decoded from stored events; the state beside them was written by DescribeChange when
// the event was applied, so that nothing is replayed for a watcher.
#include "coordinator/job_view.h"

#include <utility>
#include <variant>

#include "coordinator/event_codec.h"
#include "core/base/status_macros.h"

namespace birkhoff {
namespace {

// Puts the part of an event that watchers see beside its state change.
struct UpdateWriter {
  JobUpdate* update;

  void operator()(StepDone& e) const { update->step = std::move(e.report); }
  void operator()(CheckpointCommitted& e) const {
    update->checkpoint = CheckpointInfo{e.step, e.path, e.checksum};
  }
  void operator()(CheckpointFailed& e) const {
    update->failed_checkpoint = JobUpdate::FailedCheckpoint{e.rank, e.step, std::move(e.reason)};
  }
  void operator()(AttemptPlaced& e) const {
    JobUpdate::Placed& placed = update->placed.emplace();
    placed.plan_hash = e.plan_hash;
    for (PlacedWorker& worker : e.workers) placed.workers.push_back(std::move(worker.worker));
  }
  void operator()(RankExited& e) const {
    update->exited = JobUpdate::Exited{e.rank, e.code, std::move(e.reason)};
  }
  void operator()(WorkerLost& e) const {
    update->exited = JobUpdate::Exited{e.rank, ExitCode::kInfrastructure, std::move(e.reason)};
  }
  void operator()(Noticed& e) const {
    update->notice = JobUpdate::Notice{std::move(e.code), e.step, std::move(e.sentence)};
  }
  template <typename Other>
  void operator()(Other&) const {}
};

}  // namespace

JobView MakeJobView(const Job& job, bool with_spec) {
  JobView view;
  view.name = job.name();
  if (with_spec) view.spec = job.spec();
  view.total_steps = job.spec().training.steps;
  view.state = job.state();
  view.reason = job.reason();
  view.exit_code = job.exit_code();
  view.attempt = job.attempt();
  view.restarts = job.restarts();
  view.priority = job.request().priority;
  view.output_directory = job.request().output_directory;
  view.plan_hash = job.plan_hash();
  for (const JobRank& rank : job.ranks()) view.workers.push_back(rank.worker.worker);
  view.last_step = job.last_step();
  view.checkpoint = job.checkpoint();
  return view;
}

void DescribeChange(const Job& before, const Job& after, StoredEvent* stored) {
  stored->attempt = after.attempt();
  const bool created = stored->kind == "created";
  if (!created && before.state() == after.state() && before.reason() == after.reason()) return;
  stored->state = static_cast<int>(after.state());
  stored->reason_code = after.reason().code;
  stored->reason = after.reason().sentence;
  stored->exit_code = static_cast<int>(after.exit_code());
}

absl::StatusOr<JobUpdate> MakeJobUpdate(const StoredEvent& stored) {
  JobUpdate update;
  update.id = stored.id;
  update.time = absl::FromUnixNanos(stored.wall_ns);
  update.attempt = stored.attempt;
  if (stored.state != 0) {
    update.state = JobUpdate::StateChange{static_cast<JobState>(stored.state),
                                          {stored.reason_code, stored.reason},
                                          static_cast<ExitCode>(stored.exit_code)};
  }
  ASSIGN_OR_RETURN(JobEvent event, DecodeJobEvent(stored));
  std::visit(UpdateWriter{&update}, event);
  return update;
}

}  // namespace birkhoff
