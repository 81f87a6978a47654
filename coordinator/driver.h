// The implementation of Coordinator (coordinator.h), in three files: driver.cc (people, watchers,
// replay), driver_workers.cc (what workers say), driver_schedule.cc (time and placement).
//
// What a message or a tick costs does not grow with the jobs that wait or are over: jobs are found
// through indices (Reindex), never by a walk over all of them.  Only a replay, a scrape of the
// metrics and a list that filters by state walk.
//
// One mutex guards everything.  It is held while an event is appended, so that the order of the log
// is the order of the state; WorkerLink::Send waits for nobody, so it too is called under the lock,
// which keeps each worker's messages in the order of the events.  Planning, waking watchers and
// logging happen outside, in the thread of the call that has brought them about.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/coordinator.h"
#include "coordinator/held_lock.h"
#include "coordinator/job_meter.h"
#include "coordinator/progress_watch.h"
#include "coordinator/queue.h"
#include "coordinator/worker_registry.h"

namespace birkhoff {

// What somebody subscribed to; the lock keeps `wake` alive while it runs.
struct Watcher {
  absl::Mutex mutex;
  std::function<void()> wake ABSL_GUARDED_BY(mutex);
};

// Everything the driver keeps of one job.
struct JobRecord {
  JobRecord(Job initial, const CoordinatorOptions& options)
      : job(std::move(initial)), progress(options.progress_limit), meter(options.metrics_window) {}

  Job job;
  ProgressWatch progress;  // of the latest attempt
  std::string avoid;       // worker of the rank that stood still last; empty: none
  int64_t sequence = 0;    // order of creation
  // That it waits in, by device and number of workers; empty: it does not wait for workers.
  std::optional<std::pair<int, int>> queue;
  absl::Time waits_since;               // while it waits
  std::optional<Instant> told_waiting;  // when watchers were told last why it waits
  absl::Time create_time;
  absl::Time update_time;
  int64_t last_id = 0;               // of the latest event
  int64_t durable_id = 0;            // of the latest event in the store; watchers see no further
  std::vector<StoredEvent> pending;  // step reports that wait to be written in one go
  std::map<std::string, std::map<int, std::string>> meets;  // by key and rank; of this attempt
  std::shared_ptr<const Plan> plan;                         // that job.plan_hash() names, or null
  std::set<std::shared_ptr<Watcher>> watchers;
  std::map<std::string, int64_t> no_room;  // QueuedJob::no_room
  Instant deferred_until;                  // no plan is tried before
  Instant over_since;                      // while the job is over
  JobMeter meter;
};

// The workers that the job may run on now: those of the device that it began with.
DeviceKind DeviceOf(const Job& job);

class Driver final : public Coordinator {
 public:
  Driver(const CoordinatorOptions& options, const Clock& clock, JobStore& store, Planner planner);
  absl::Status Replay();

  absl::StatusOr<JobView> Submit(const SubmitRequest& request) override;
  absl::StatusOr<JobView> GetJob(const std::string& name) const override;
  absl::StatusOr<JobPage> ListJobs(const ListRequest& request) const override;
  absl::StatusOr<JobView> Cancel(const std::string& name) override;
  absl::StatusOr<Plan> GetPlan(const std::string& name) const override;
  std::vector<WorkerView> ListWorkers() const override;
  absl::StatusOr<std::vector<JobUpdate>> ReadUpdates(const std::string& name, int64_t after_id,
                                                     int limit) const override;
  absl::StatusOr<std::vector<JobUpdate>> WaitForUpdates(const std::string& name, int64_t after_id,
                                                        int limit,
                                                        absl::Duration timeout) const override;
  std::unique_ptr<Subscription> Subscribe(const std::string& name,
                                          std::function<void()> wake) override;
  absl::Status Handle(const WorkerMessage& message, WorkerLink* link) override;
  void Disconnected(WorkerLink* link) override;
  absl::Status Tick() override;
  absl::Status StoreStatus() const override;
  FleetMetrics Metrics() const override;

  void Unsubscribe(const std::string& name, const std::shared_ptr<Watcher>& watcher);

 private:
  // What must happen outside the lock.
  struct Aftermath {
    std::vector<std::shared_ptr<Watcher>> wakes;
    std::vector<std::string> lines;
  };
  struct PlanTask {
    std::string job;
    std::vector<PlacedWorker> workers;  // by rank
    ClusterSpec cluster;
    std::string shape;
    std::shared_ptr<const JobSpec> spec;
    std::shared_ptr<const Plan> known;  // of an earlier attempt on the same shape, or null
  };

  // driver.cc
  absl::StatusOr<JobRecord*> FindJob(const std::string& name) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::string> NewJobName(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<JobView> SubmitLocked(const SubmitRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckNobodyWritesTo(const JobCreated& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<JobView> SameRequest(const SubmitRequest& request) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  JobView View(const JobRecord& record, bool with_spec = true) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ReplayEvent(const StoredEvent& stored) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ExpectWorkers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Steps the job, appends the event, then does what must be done.  On an error nothing happened.
  absl::Status Apply(JobRecord& record, const JobEvent& event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NoteStore(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AppendToStore(const std::vector<StoredEvent>& events)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Observe(JobRecord& record, const JobEvent& event, JobState before)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Puts the job into the indices where its state belongs.
  void Reindex(JobRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishWhatFailed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WritePending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WakeWatchers(const JobRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Aftermath TakeAftermath() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(const Aftermath& aftermath) const;

  // driver_workers.cc
  absl::Status HandleLocked(const WorkerMessage& message, WorkerLink* link)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OnHello(const WorkerMessage& message, const Hello& hello, WorkerLink* link)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OnHeartbeat(const WorkerMessage& message, const Heartbeat& heartbeat,
                           WorkerLink* link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OnMeet(const WorkerMessage& message, const Meet& meet, WorkerLink* link)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  template <typename Said>
  absl::Status OnEvent(const WorkerMessage& message, const Said& said, int rank, WorkerLink* link)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  JobRecord* RecordOfRank(const WorkerMessage& message, const std::string& job, int attempt,
                          int rank) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerStale(const std::string& job, int attempt, WorkerLink* link)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Perform(JobRecord& record, const std::vector<JobEffect>& effects)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SendToRankOf(const JobRecord& record, int rank, CoordinatorMessage message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StartAttempt MakeStart(JobRecord& record, int rank) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // driver_schedule.cc
  absl::Status TickNow();
  void MakeUpForGap(Instant now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LoseSilentWorkers(JobRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EndWhatStandsStill(JobRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WatchAttempt(JobRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Schedule();
  absl::StatusOr<bool> PlaceOne();
  std::optional<Placement> ScanQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<QueueWorker> TakeStock() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  QueuedJob QueuedJobOf(const JobRecord& record) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<JobReason> WhyItWaits(const JobRecord& record) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TellWhoWatch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<PlanTask> NextTask() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Place(const PlanTask& task, const absl::StatusOr<Plan>& plan)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Refuse(JobRecord& record, const PlanTask& task, const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Complain(std::string line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool StillIdle(const PlanTask& task) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::shared_ptr<const Plan> PlanOf(JobRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CoordinatorOptions options_;
  const Clock& clock_;
  JobStore& store_;
  const Planner planner_;

  mutable absl::Mutex mutex_;
  // How long changes of the state and scrapes hold the mutex.
  mutable Histogram lock_held_ ABSL_GUARDED_BY(mutex_){kLockSecondsBounds};
  Histogram store_commits_ ABSL_GUARDED_BY(mutex_){kStoreSecondsBounds};
  uint64_t store_refusals_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::unique_ptr<JobRecord>> jobs_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, JobRecord*> by_sequence_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, JobRecord*> by_request_ ABSL_GUARDED_BY(mutex_);    // by request id
  std::map<std::string, JobRecord*> by_directory_ ABSL_GUARDED_BY(mutex_);  // that lives, by roots
  std::map<std::string, int> last_number_ ABSL_GUARDED_BY(mutex_);          // by spec's name
  std::map<std::string, JobRecord*> busy_ ABSL_GUARDED_BY(mutex_);          // have an attempt
  std::map<std::string, JobRecord*> unwritten_ ABSL_GUARDED_BY(mutex_);  // may have pending steps
  using Queue = std::map<std::pair<int, int64_t>, JobRecord*>;           // -priority, sequence
  std::map<std::pair<int, int>, Queue> queues_ ABSL_GUARDED_BY(mutex_);  // JobRecord::queue
  std::map<std::string, Supply> supplies_ ABSL_GUARDED_BY(mutex_);  // by device, as last looked at
  std::map<std::string, JobRecord*> watched_ ABSL_GUARDED_BY(mutex_);  // has watchers
  Instant started_ ABSL_GUARDED_BY(mutex_);
  // What the log holds of them is in their state, but not all has been done about it.
  std::vector<JobRecord*> unfinished_ ABSL_GUARDED_BY(mutex_);
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 1;
  WorkerRegistry registry_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, WorkerLink*> links_ ABSL_GUARDED_BY(mutex_);  // by worker
  Aftermath aftermath_ ABSL_GUARDED_BY(mutex_);
  bool scheduling_ ABSL_GUARDED_BY(mutex_) = false;
  Instant last_tick_ ABSL_GUARDED_BY(mutex_);
  absl::Status store_status_ ABSL_GUARDED_BY(mutex_);
  bool store_gone_ ABSL_GUARDED_BY(mutex_) = false;  // as of the latest tick
  std::string complaint_ ABSL_GUARDED_BY(mutex_);    // the latest that was logged
};

}  // namespace birkhoff
