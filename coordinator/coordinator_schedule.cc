// Time, placement and metrics.
#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "coordinator/coordinator.h"
#include "coordinator/held_lock.h"
#include "coordinator/job_record.h"
#include "core/base/guarded.h"
#include "core/base/status_macros.h"
#include "core/net/encoding.h"
#include "core/spec/resolve.h"

namespace birkhoff {
namespace {

// Two clusters of one shape get the same plan.
std::string ShapeOf(const ClusterSpec& cluster) {
  std::string shape;
  for (const WorkerResources& worker : cluster.workers) {
    absl::StrAppend(&shape, worker.device, "/", worker.memory_bytes, "/", worker.peak_flops, "/",
                    worker.product_flops, ";");
  }
  return shape;
}

// How long the planner is left alone after it failed for another reason than the workers' room.
constexpr absl::Duration kPlanRetry = absl::Seconds(10);

constexpr int kLookedAt = 16;     // waiting jobs, where nobody is idle
constexpr size_t kNamedJobs = 3;  // of those that hold workers, in a sentence
constexpr absl::Duration kWaitingNews = absl::Seconds(10);  // between two on one job

// Of the workers whose memory is known; 0: of none.
int64_t SmallestMemory(const ClusterSpec& cluster) {
  int64_t smallest = 0;
  for (const WorkerResources& worker : cluster.workers) {
    if (worker.memory_bytes <= 0) continue;
    smallest = smallest == 0 ? worker.memory_bytes : std::min(smallest, worker.memory_bytes);
  }
  return smallest;
}

}  // namespace

// A job goes on where it began: another device computes other numbers.
DeviceKind DeviceOf(const Job& job) {
  for (const Processor processor : {Processor::kCpu, Processor::kCuda}) {
    if (!job.cluster_shape().starts_with(absl::StrCat(ProcessorName(processor), "/"))) continue;
    return processor == Processor::kCpu ? DeviceKind::kCpu : DeviceKind::kCuda;
  }
  return NeededDevice(job.spec());
}

void Coordinator::Observe(JobRecord& record, const JobEvent& event, JobState before) {
  record.meter.Took(clock_.Now(), clock_.WallTime(), event, record.job);
  if (const auto* failed = std::get_if<CheckpointFailed>(&event)) {
    aftermath_.lines.push_back(absl::StrCat(record.job.name(), " checkpoint of step ", failed->step,
                                            " failed on rank ", failed->rank, ": ",
                                            failed->reason));
  }
  if (const auto* noticed = std::get_if<Noticed>(&event)) {
    aftermath_.lines.push_back(
        absl::StrCat(record.job.name(), " ", noticed->code, ": ", noticed->sentence));
  }
  if (std::holds_alternative<AttemptPlaced>(event)) {
    record.meets.clear();
    WatchAttempt(record);
  }
  const Job& job = record.job;
  if (job.state() == before && !std::holds_alternative<JobCreated>(event)) return;
  if (IsOver(job.state())) record.over_since = clock_.Now();
  aftermath_.lines.push_back(absl::StrCat(job.name(), " ", JobStateName(job.state()), " ",
                                          job.reason().code, ": ", job.reason().sentence));
}

absl::Status Coordinator::Tick() {
  const absl::Status status = Guarded("tick", [this] { return TickNow(); });
  Schedule();
  return status;
}

absl::Status Coordinator::TickNow() {
  absl::Status status;
  Aftermath aftermath;
  {
    HeldLock lock(&mutex_, clock_, &lock_held_);
    // One instant for all: what one job's append takes is not another one's grace.
    const Instant now = clock_.Now();
    MakeUpForGap(now);
    last_tick_ = now;
    FinishWhatFailed();
    registry_.Expire(now);
    std::vector<JobRecord*> busy;  // what happens to a job may end it
    for (const auto& [name, record] : busy_) busy.push_back(record);
    for (JobRecord* record : busy) {
      status.Update(LoseSilentWorkers(*record));
      status.Update(EndWhatStandsStill(*record));
      if (const std::optional<JobEvent> due = record->job.Due(now)) {
        status.Update(Apply(*record, *due));
      }
    }
    // A file that is gone shows also while nothing is to be written, and so does its return.
    const absl::Status there = store_.Check();
    const bool was_gone = std::exchange(store_gone_, !there.ok());
    if (store_gone_ || was_gone) NoteStore(there);
    status.Update(TellWhoWatch());
    status.Update(WritePending());
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  return status;
}

// While this process was stopped, or waited for its disk, nobody could be heard: what workers said
// meanwhile waits to be read.  Of the tick and those messages, whichever comes first.
void Coordinator::MakeUpForGap(Instant now) {
  const absl::Duration gap = now - last_tick_;
  if (gap <= options_.heartbeat) return;
  last_tick_ = now;
  const absl::Duration by = gap - options_.heartbeat / kTicksPerHeartbeat;
  registry_.Extend(by);
  for (const auto& [name, record] : busy_) {
    record->job.ExtendGrace(by);
    record->progress.Extend(by);
  }
  aftermath_.lines.push_back(absl::StrCat("this coordinator stood still for ",
                                          absl::FormatDuration(gap),
                                          "; all leases last longer by as much"));
}

// Said again at every tick until the store has taken it.
absl::Status Coordinator::LoseSilentWorkers(JobRecord& record) {
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

void Coordinator::WatchAttempt(JobRecord& record) {
  const std::shared_ptr<const Plan> plan = PlanOf(record);
  const absl::Duration step =
      plan == nullptr ? absl::ZeroDuration() : absl::Nanoseconds(plan->predicted_step_ns);
  record.progress.Begin(clock_.Now(), static_cast<int>(record.job.ranks().size()), step);
}

// Likewise.
absl::Status Coordinator::EndWhatStandsStill(JobRecord& record) {
  const JobState state = record.job.state();
  if (state != JobState::kStarting && state != JobState::kRunning) return absl::OkStatus();
  for (int rank = 0; rank < static_cast<int>(record.job.ranks().size()); ++rank) {
    if (record.job.ranks()[rank].gone) record.progress.Gone(rank);
  }
  const std::optional<ProgressWatch::Verdict> verdict = record.progress.Judge(clock_.Now());
  if (!verdict.has_value()) return absl::OkStatus();
  RETURN_IF_ERROR(
      Apply(record, AttemptStuck{record.job.attempt(), verdict->rank, verdict->reason}));
  record.avoid = record.job.ranks()[verdict->rank].worker.worker;
  return absl::OkStatus();
}

void Coordinator::Schedule() {
  while (true) {
    const absl::StatusOr<bool> placed = Guarded("placing a job", [this] { return PlaceOne(); });
    if (placed.ok() && *placed) continue;
    if (placed.ok()) return;
    // The next tick tries again.
    (void)Guarded("log", [&] {
      Aftermath aftermath;
      {
        absl::MutexLock lock(&mutex_);
        Complain(std::string(placed.status().message()));
        aftermath = TakeAftermath();
      }
      Finish(aftermath);
      return absl::OkStatus();
    });
    return;
  }
}

// The same failure at every tick is one line.
void Coordinator::Complain(std::string line) {
  if (line == complaint_) return;
  complaint_ = line;
  aftermath_.lines.push_back(std::move(line));
}

// False: there is nothing to place now, or somebody else is at it, who looks again after each
// placement, so that nothing is missed.
absl::StatusOr<bool> Coordinator::PlaceOne() {
  std::optional<PlanTask> task;
  {
    HeldLock lock(&mutex_, clock_, &lock_held_);
    if (scheduling_) return false;
    task = NextTask();
    if (!task.has_value()) return false;
    scheduling_ = true;
  }
  const absl::Cleanup done = [this] {
    absl::MutexLock lock(&mutex_);
    scheduling_ = false;
  };
  const absl::StatusOr<Plan> plan =
      task->known != nullptr
          ? absl::StatusOr<Plan>(*task->known)
          : Guarded("planning", [&] { return planner_(*task->spec, task->cluster); });
  Aftermath aftermath;
  absl::Status placed;
  {
    HeldLock lock(&mutex_, clock_, &lock_held_);
    placed = Place(*task, plan);
    aftermath = TakeAftermath();
  }
  Finish(aftermath);
  RETURN_IF_ERROR(placed);
  return true;
}

// Those that there are, and those that may be on their way back.
std::vector<QueueWorker> Coordinator::TakeStock() {
  supplies_.clear();
  std::vector<QueueWorker> workers;
  for (const auto& [name, worker] : registry_.workers()) {
    if (worker.resources.name.empty()) continue;
    const bool idle = !worker.lost && worker.job.empty() && links_.contains(name);
    if (worker.lost && clock_.Now() - worker.lost_since >= options_.come_back) continue;
    workers.push_back({name, worker.resources.device, worker.resources.memory_bytes, idle});
    if (worker.lost) continue;
    Supply& supply = supplies_[worker.resources.device];
    ++supply.there;
    supply.idle += idle ? 1 : 0;
    std::vector<std::string>& jobs = supply.works_for;
    if (!worker.job.empty() && jobs.size() < kNamedJobs &&
        std::ranges::find(jobs, worker.job) == jobs.end()) {
      jobs.push_back(worker.job);
    }
  }
  return workers;
}

QueuedJob Coordinator::QueuedJobOf(const JobRecord& record) const {
  const Job& job = record.job;
  return {.name = job.name(),
          .priority = job.request().priority,
          .sequence = record.sequence,
          .num_workers = NumRanks(job.spec()),
          .ready = job.WantsWorkers(clock_.Now()),
          .device = DeviceOf(job),
          .no_room = record.no_room,
          .deferred = clock_.Now() < record.deferred_until,
          .avoid = record.avoid};
}

// Merges the queues, best first.  Queues of jobs that have nothing to hope for are left out whole,
// so that it does not matter how many wait in them.
std::optional<Placement> Coordinator::ScanQueue() {
  std::vector<QueueWorker> workers = TakeStock();
  const bool any = std::ranges::any_of(workers, &QueueWorker::idle);
  QueueScan scan(std::move(workers), clock_.Now() - started_ < options_.come_back);
  const absl::Cleanup remember = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (const auto& [device, job] : scan.claims()) supplies_[device].claimed_by = job;
  };
  std::map<std::pair<int, int>, Queue::const_iterator> at;
  for (const auto& [key, queue] : queues_) at[key] = queue.begin();
  for (int looked_at = 0;; ++looked_at) {
    // With nobody idle only who goes first is of interest.
    if (!any && looked_at == kLookedAt) return std::nullopt;
    auto next = at.end();
    for (auto queue = at.begin(); queue != at.end();) {
      const auto& [device, num_workers] = queue->first;
      if (queue->second == queues_.at(queue->first).end() ||
          scan.Hopeless(static_cast<DeviceKind>(device), num_workers)) {
        queue = at.erase(queue);
        continue;
      }
      if (next == at.end() || queue->second->first < next->second->first) next = queue;
      ++queue;
    }
    if (next == at.end()) return std::nullopt;
    const JobRecord& record = *(next->second++)->second;
    if (std::optional<Placement> placement = scan.Offer(QueuedJobOf(record))) return placement;
  }
}

// Nothing where the job does not wait for workers, or waits for another reason.
std::optional<JobReason> Coordinator::WhyItWaits(const JobRecord& record) const {
  const Job& job = record.job;
  const bool ordinary = job.reason().code == kWaitingForWorkers;
  const bool lost = job.state() == JobState::kRecovering && job.reason().code != kNoRoom &&
                    job.reason().code != kPlanDeferred;
  if (!record.queue.has_value() || !job.WantsWorkers(clock_.Now()) || !(ordinary || lost)) {
    return std::nullopt;
  }
  const std::string sentence = WaitingSentence(QueuedJobOf(record), supplies_);
  if (ordinary) return JobReason{kWaitingForWorkers, sentence};
  return JobReason{job.reason().code, absl::StrCat(job.reason().sentence, "; ", sentence)};
}

// Whoever watches a job that waits hears why, when that changes, and not too often.
absl::Status Coordinator::TellWhoWatch() {
  std::vector<JobRecord*> waiting;
  for (const auto& [name, record] : watched_) {
    if (record->queue.has_value()) waiting.push_back(record);
  }
  for (JobRecord* record : waiting) {
    const Instant now = clock_.Now();
    const bool lately = record->told_waiting && now - *record->told_waiting < kWaitingNews;
    if (lately || !WhyItWaits(*record)) continue;
    const JobReason why{kWaitingForWorkers, WaitingSentence(QueuedJobOf(*record), supplies_)};
    if (why == record->job.reason()) continue;
    RETURN_IF_ERROR(Apply(*record, PlanDeferred{why.code, why.sentence}));
    record->told_waiting = now;
  }
  return absl::OkStatus();
}

std::optional<Coordinator::PlanTask> Coordinator::NextTask() {
  const std::optional<Placement> placement = ScanQueue();
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

bool Coordinator::StillIdle(const PlanTask& task) const {
  return std::ranges::all_of(task.workers,
                             [&](const PlacedWorker& placed) ABSL_NO_THREAD_SAFETY_ANALYSIS {
                               const RegisteredWorker* worker = registry_.Find(placed.worker);
                               return worker != nullptr && !worker->lost && worker->job.empty() &&
                                      worker->incarnation == placed.incarnation;
                             });
}

// Only a spec that no workers could ever do ends its job; everything else may become better.
absl::Status Coordinator::Refuse(JobRecord& record, const PlanTask& task, const absl::Status& why) {
  const std::string reason(why.message());
  const int64_t memory = SmallestMemory(task.cluster);
  std::string code = kPlanDeferred;
  if (absl::IsFailedPrecondition(why) && memory > 0) {
    int64_t& no_room = record.no_room[task.cluster.workers[0].device];
    no_room = std::max(no_room, memory);
    code = kNoRoom;
  } else if (absl::IsResourceExhausted(why) ||
             (absl::IsInvalidArgument(why) && record.job.attempt() > 0)) {
    record.deferred_until = clock_.Now() + kPlanRetry;
  } else {
    const ExitCode exit = absl::IsInternal(why) ? ExitCode::kInternal : ExitCode::kBadSpec;
    return Apply(record, PlanRefused{reason, exit});
  }
  const absl::Status status =
      Apply(record, PlanDeferred{code, absl::StrCat("waits for ", task.workers.size(),
                                                    " workers that can do it: ", reason)});
  return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
}

absl::Status Coordinator::Place(const PlanTask& task, const absl::StatusOr<Plan>& plan) {
  JobRecord& record = *jobs_.at(task.job);
  if (!record.job.WantsWorkers(clock_.Now())) return absl::OkStatus();
  if (!plan.ok()) return Refuse(record, task, plan.status());
  if (!StillIdle(task)) return absl::OkStatus();
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
std::shared_ptr<const Plan> Coordinator::PlanOf(JobRecord& record) {
  if (record.plan != nullptr) return record.plan;
  const absl::StatusOr<std::string> bytes = store_.GetPlan(record.job.plan_hash());
  if (!bytes.ok()) return nullptr;
  absl::StatusOr<Plan> plan = DecodePlan(*bytes);
  if (plan.ok()) record.plan = std::make_shared<const Plan>(*std::move(plan));
  return record.plan;
}

FleetMetrics Coordinator::Metrics() const {
  HeldLock lock(&mutex_, clock_, &lock_held_);
  FleetMetrics fleet;
  fleet.store_refuses = !store_status_.ok();
  fleet.store_commit_seconds = store_commits_;
  fleet.store_refusals = store_refusals_;
  fleet.lock_held_seconds = lock_held_;
  for (const auto& [name, record] : unwritten_) {
    fleet.unwritten_events += static_cast<int64_t>(record->pending.size());
  }
  for (const auto& [name, record] : jobs_) {
    const Job& job = record->job;
    if (record->queue.has_value()) {
      ++fleet.queue_length;
      fleet.waits_since = std::min(fleet.waits_since, record->waits_since);
    }
    const bool old =
        IsOver(job.state()) && clock_.Now() - record->over_since >= options_.metrics_retention;
    if (!old) fleet.jobs.push_back(record->meter.Read(clock_.Now(), job));
  }
  for (const auto& [name, worker] : registry_.workers()) {
    ++(worker.lost          ? fleet.workers_lost
       : worker.job.empty() ? fleet.workers_idle
                            : fleet.workers_busy);
  }
  return fleet;
}

}  // namespace birkhoff
