// Time, placement and metrics.
#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/driver.h"
#include "coordinator/queue.h"
#include "core/base/status_macros.h"
#include "core/net/wire.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

// Two clusters of one shape get the same plan.
std::string ShapeOf(const ClusterSpec& cluster) {
  std::string shape;
  for (const WorkerResources& worker : cluster.workers) {
    absl::StrAppend(&shape, worker.device, "/", worker.memory_bytes, "/", worker.peak_flops, ";");
  }
  return shape;
}

// A job goes on where it began: another device computes other numbers.
DeviceKind DeviceOf(const Job& job) {
  for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
    if (!job.cluster_shape().starts_with(absl::StrCat(ProcessorName(processor), "/"))) continue;
    return processor == Processor::kCpu ? DeviceKind::kCpu : DeviceKind::kCuda;
  }
  return NeededDevice(job.spec());
}

void CountStep(const StepReport& report, JobMetrics* metrics) {
  metrics->step_seconds_buckets.resize(std::size(kStepSecondsBounds) + 1);
  for (size_t i = 0; i < std::size(kStepSecondsBounds); ++i) {
    if (report.step_seconds <= kStepSecondsBounds[i]) ++metrics->step_seconds_buckets[i];
  }
  ++metrics->step_seconds_buckets.back();
  metrics->step_seconds_sum += report.step_seconds;
  metrics->tokens_total = std::max(metrics->tokens_total, report.total_tokens);
}

}  // namespace

void Driver::Observe(JobRecord& record, const JobEvent& event, JobState before) {
  if (const auto* step = std::get_if<StepDone>(&event)) {
    CountStep(step->report, &record.metrics);
    record.window.Add(clock_.Now(), step->report);
    record.metrics.last_step_time = clock_.WallTime();
  }
  if (std::holds_alternative<CheckpointCommitted>(event)) {
    record.metrics.last_checkpoint_time = clock_.WallTime();
  }
  if (const auto* failed = std::get_if<CheckpointFailed>(&event)) {
    aftermath_.lines.push_back(absl::StrCat(record.job.name(), " checkpoint of step ", failed->step,
                                            " failed on rank ", failed->rank, ": ",
                                            failed->reason));
  }
  if (std::holds_alternative<AttemptPlaced>(event)) {
    record.meets.clear();
    record.metrics.memory.clear();
  }
  const Job& job = record.job;
  if (job.state() == before && !std::holds_alternative<JobCreated>(event)) return;
  if (IsOver(job.state())) record.over_since = clock_.Now();
  aftermath_.lines.push_back(absl::StrCat(job.name(), " ", JobStateName(job.state()), " ",
                                          job.reason().code, ": ", job.reason().sentence));
}

absl::Status Driver::Tick() {
  absl::Status status;
  Aftermath aftermath;
  {
    absl::MutexLock lock(&mutex_);
    registry_.Expire(clock_.Now());
    for (const auto& [name, record] : jobs_) {
      status.Update(LoseSilentWorkers(*record));
      if (const std::optional<JobEvent> due = record->job.Due(clock_.Now())) {
        status.Update(Apply(*record, *due));
      }
    }
    status.Update(WritePending());
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  Schedule();
  return status;
}

// Said again at every tick until the store has taken it.
absl::Status Driver::LoseSilentWorkers(JobRecord& record) {
  if (IsOver(record.job.state())) return absl::OkStatus();
  for (int rank = 0; rank < static_cast<int>(record.job.ranks().size()); ++rank) {
    const JobRank& slot = record.job.ranks()[rank];
    if (slot.gone) continue;
    const RegisteredWorker* worker = registry_.Find(slot.worker.worker);
    std::string reason;
    if (worker == nullptr || worker->lost) {
      reason = absl::StrCat("was silent for ", absl::FormatDuration(options_.lease));
    } else if (worker->incarnation != slot.worker.incarnation) {
      reason = "was started anew";
    } else {
      continue;
    }
    RETURN_IF_ERROR(Apply(record, WorkerLost{record.job.attempt(), rank, reason}));
  }
  return absl::OkStatus();
}

void Driver::Schedule() {
  while (true) {
    std::optional<PlanTask> task;
    {
      absl::MutexLock lock(&mutex_);
      // Whoever schedules looks again after each placement, so nothing is missed.
      if (scheduling_) return;
      task = NextTask();
      if (!task.has_value()) return;
      scheduling_ = true;
    }
    const absl::StatusOr<Plan> plan = task->known != nullptr ? absl::StatusOr<Plan>(*task->known)
                                                             : planner_(*task->spec, task->cluster);
    Aftermath aftermath;
    absl::Status placed;
    {
      absl::MutexLock lock(&mutex_);
      scheduling_ = false;
      placed = Place(*task, plan);
      aftermath = TakeAftermath();
    }
    Finish(aftermath);
    if (!placed.ok()) return;  // the store refuses; the next tick tries again
  }
}

std::optional<Driver::PlanTask> Driver::NextTask() {
  std::vector<QueuedJob> queue;
  for (const auto& [name, record] : jobs_) {
    const Job& job = record->job;
    const bool waits = job.state() == JobState::kQueued || job.state() == JobState::kRecovering;
    if (!waits) continue;
    queue.push_back({name, job.request().priority, record->sequence, NumRanks(job.spec()),
                     job.WantsWorkers(clock_.Now()), DeviceOf(job)});
  }
  std::vector<IdleWorker> idle;
  for (const std::string& name : registry_.Idle("")) {
    if (links_.contains(name)) idle.push_back({name, registry_.Find(name)->resources.device});
  }
  const std::optional<Placement> placement = NextPlacement(queue, idle);
  if (!placement.has_value()) return std::nullopt;
  PlanTask task;
  task.job = placement->job;
  for (const std::string& name : placement->workers) {
    const RegisteredWorker& worker = *registry_.Find(name);
    task.workers.push_back({name, worker.incarnation});
    task.cluster.workers.push_back(worker.resources);
  }
  task.shape = ShapeOf(task.cluster);
  JobRecord& record = *jobs_.at(task.job);
  task.spec = record.job.request().spec;
  if (record.job.cluster_shape() == task.shape) task.known = PlanOf(record);
  return task;
}

bool Driver::StillIdle(const PlanTask& task) const {
  return std::ranges::all_of(task.workers,
                             [&](const PlacedWorker& placed) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                               const RegisteredWorker* worker = registry_.Find(placed.worker);
                               return worker != nullptr && !worker->lost && worker->job.empty() &&
                                      worker->incarnation == placed.incarnation;
                             });
}

absl::Status Driver::Place(const PlanTask& task, const absl::StatusOr<Plan>& plan) {
  JobRecord& record = *jobs_.at(task.job);
  if (!record.job.WantsWorkers(clock_.Now()) || !StillIdle(task)) return absl::OkStatus();
  if (!plan.ok()) {
    const ExitCode code =
        absl::IsInternal(plan.status()) ? ExitCode::kInternal : ExitCode::kBadSpec;
    return Apply(record, PlanRefused{std::string(plan.status().message()), code});
  }
  const std::string hash = PlanHash(*plan);
  if (task.known == nullptr) RETURN_IF_ERROR(store_.PutPlan(hash, EncodePlan(*plan)));
  const std::shared_ptr<const Plan> before =
      std::exchange(record.plan, std::make_shared<const Plan>(*plan));
  const absl::Status status =
      Apply(record, AttemptPlaced{record.job.attempt() + 1, task.workers, hash, task.shape});
  if (!status.ok()) record.plan = before;
  return status;
}

// After a replay the plan comes from the store; null only if somebody has damaged it.
std::shared_ptr<const Plan> Driver::PlanOf(JobRecord& record) {
  if (record.plan != nullptr) return record.plan;
  const absl::StatusOr<std::string> bytes = store_.GetPlan(record.job.plan_hash());
  if (!bytes.ok()) return nullptr;
  absl::StatusOr<Plan> plan = DecodePlan(*bytes);
  if (plan.ok()) record.plan = std::make_shared<const Plan>(*std::move(plan));
  return record.plan;
}

FleetMetrics Driver::Metrics() const {
  absl::MutexLock lock(&mutex_);
  FleetMetrics fleet;
  for (const auto& [name, record] : jobs_) {
    const Job& job = record->job;
    const bool waits = job.state() == JobState::kQueued || job.state() == JobState::kRecovering;
    if (waits) ++fleet.queue_length;
    const bool old =
        IsOver(job.state()) && clock_.Now() - record->over_since >= options_.metrics_retention;
    if (old) continue;
    JobMetrics& metrics = fleet.jobs.emplace_back(record->metrics);
    metrics.job = name;
    metrics.state = job.state();
    metrics.restarts = job.restarts();
    metrics.last_step = job.last_step();
    metrics.window = record->window.Largest(clock_.Now());
    // After a restart of this process the steps before it count too.
    if (metrics.last_step.has_value()) {
      metrics.tokens_total = std::max(metrics.tokens_total, metrics.last_step->total_tokens);
    }
  }
  for (const auto& [name, worker] : registry_.workers()) {
    ++(worker.lost          ? fleet.workers_lost
       : worker.job.empty() ? fleet.workers_idle
                            : fleet.workers_busy);
  }
  return fleet;
}

}  // namespace birkhoff
