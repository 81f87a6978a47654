// The coordinator: owns the jobs, the worker registry and the one mutex; knows no gRPC.  Three files:
// coordinator.cc (people, watchers, replay), coordinator_workers.cc (what workers say),
// coordinator_schedule.cc (time and placement).
//
// Events are appended to the store before anything is done about them, but for step reports, which
// wait for the job's next other event or tick.  Messages are handed to their links under the lock,
// callbacks are called outside it.  Recovery is a replay of the store through the same state
// machine; after it every worker gets one full lease to come back, and attempts go on.
//
// What a message or a tick costs does not grow with the jobs that wait or are over: jobs are found
// through indices (Reindex), never by a walk over all of them.  Only a replay, a scrape of the
// metrics and a list that filters by state walk.
//
// One mutex guards everything.  It is held while an event is appended, so that the order of the log
// is the order of the state; WorkerLink::Send waits for nobody, so it too is called under the lock,
// which keeps each worker's messages in the order of the events.  Planning, waking watchers and
// logging happen outside, in the thread of the call that has brought them about.
//
// Thread-safe.  The store, the clock and the planner must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/fleet_metrics.h"
#include "coordinator/job.h"
#include "coordinator/job_event.h"
#include "coordinator/job_store.h"
#include "coordinator/job_view.h"
#include "coordinator/queue.h"
#include "coordinator/worker_registry.h"
#include "core/base/clock.h"
#include "core/plan/plan.h"
#include "core/protocol/messages.h"
#include "core/spec/problem.h"

namespace birkhoff {

struct JobRecord;  // job_record.h
struct Watcher;

// One way to one worker.  Send queues the message, or begins to write it, and returns: it waits for
// nobody and never calls the coordinator back.  What cannot be sent is lost, and the worker hears
// what it must after a reconnect.  Any thread; called with the coordinator's lock held.
class WorkerLink {
 public:
  virtual ~WorkerLink() = default;
  virtual void Send(CoordinatorMessage message) = 0;
};

struct SubmitRequest {
  JobSpec spec;            // needs a resolved, valid spec
  std::string request_id;  // empty: none; else repeating it returns the first job
  int priority = 0;        // larger goes first
  // As the workers see it.  One that ends in "/" is the parent: the job gets a directory of its own
  // name in there.  Empty: "runs/".
  std::string output_directory;
  bool fresh = false;                // forget checkpoints found there
  std::vector<std::string> changes;  // needs CheckAskedChanges; which fields may differ from theirs
  std::string init_from;  // where the weights come from where none are found; empty: random
};

struct ListRequest {
  int page_size = 0;             // 0: 50; above 1000: 1000
  std::string page_token;        // opaque
  std::vector<JobState> states;  // empty: all
  bool with_spec = false;        // false: JobView::spec is left out
};
struct JobPage {
  std::vector<JobView> jobs;    // newest first
  std::string next_page_token;  // empty: that was all
};

struct CoordinatorOptions {
  absl::Duration heartbeat = absl::Seconds(1);
  absl::Duration lease = absl::Seconds(5);
  // So long a worker that was lost still counts as one that there is, and a new coordinator waits
  // for those it does not know yet, before a job that needs more than there are holds up no others.
  absl::Duration come_back = absl::Minutes(1);
  absl::Duration stop_grace = absl::Seconds(60);   // from StopAttempt to AbortAttempt
  absl::Duration abort_grace = absl::Seconds(10);  // from AbortAttempt to giving a rank up
  // An attempt of which nothing has moved for this long, and for ten times its longest step more,
  // is ended and goes on elsewhere (ProgressWatch).
  absl::Duration progress_limit = absl::Minutes(20);
  absl::Duration metrics_retention = absl::Minutes(15);  // of an ended job's series
  absl::Duration metrics_window = absl::Minutes(1);      // of the largest recent values
  // Gets one line for each change of a job's state, and for what befalls the coordinator itself
  // (its store, its planner, a standstill); any thread, without the lock.  May be null.
  std::function<void(const std::string&)> log;
};

class Coordinator {
 public:
  // CompilePlan, or a test's stand-in.
  using Planner = std::function<absl::StatusOr<Plan>(const JobSpec&, const ClusterSpec&)>;

  // Replays the store.  Errors: DATA_LOSS an event cannot be read; the store's own.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Create(const CoordinatorOptions& options,
                                                             const Clock& clock, JobStore& store,
                                                             Planner planner);
  ~Coordinator();

  // --- people ---
  // ALREADY_EXISTS: a living job has the name, or the request id came with another request.
  absl::StatusOr<JobView> Submit(const SubmitRequest& request);
  absl::StatusOr<JobView> GetJob(const std::string& name) const;  // NOT_FOUND
  // INVALID_ARGUMENT: a page size below 0, an unknown token.
  absl::StatusOr<JobPage> ListJobs(const ListRequest& request) const;
  // Clean stop at a committed checkpoint, abort after the grace.  Repeating it is harmless.
  // NOT_FOUND; FAILED_PRECONDITION: SUCCEEDED or FAILED already.
  absl::StatusOr<JobView> Cancel(const std::string& name);
  // The plan of the latest attempt.  NOT_FOUND; FAILED_PRECONDITION: none yet.
  absl::StatusOr<Plan> GetPlan(const std::string& name) const;
  std::vector<WorkerView> ListWorkers() const;  // by name

  // --- watchers ---
  // Events with larger ids, at most `limit`, oldest first; empty when there are none yet.
  // NOT_FOUND; OUT_OF_RANGE: the id lies in the future.
  absl::StatusOr<std::vector<JobUpdate>> ReadUpdates(const std::string& name, int64_t after_id,
                                                     int limit) const;
  // ReadUpdates, but waits up to `timeout` of real time for the first one.
  absl::StatusOr<std::vector<JobUpdate>> WaitForUpdates(const std::string& name, int64_t after_id,
                                                        int limit, absl::Duration timeout) const;
  // Calls `wake` (without the lock, from any thread) whenever the job has new events, until the
  // returned token goes.  The token's destructor waits for a running call.
  class Subscription {
   public:
    Subscription(Coordinator& coordinator, std::string job, std::shared_ptr<Watcher> watcher);
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    Coordinator& coordinator_;
    const std::string job_;
    const std::shared_ptr<Watcher> watcher_;
  };
  std::unique_ptr<Subscription> Subscribe(const std::string& name, std::function<void()> wake);

  // --- workers ---
  // Takes one message; `link` stays registered for the worker until Disconnected(link).  Errors:
  // UNAVAILABLE the store refuses, or another living process has the worker's name: close the link,
  // the worker will say it again.
  absl::Status Handle(const WorkerMessage& message, WorkerLink* link);
  void Disconnected(WorkerLink* link);  // afterwards `link` is not used any more

  // --- time ---
  // Looks for ended leases and graces, writes out step reports.  Call kTicksPerHeartbeat times per
  // heartbeat: where more than a heartbeat has passed since the last call, this process was stopped
  // or slow itself, and all leases and graces last longer by as much.  Never throws.
  static constexpr int kTicksPerHeartbeat = 4;
  absl::Status Tick();

  // What the store said to the latest append; that it is damaged stays true for good.
  absl::Status StoreStatus() const;

  FleetMetrics Metrics() const;

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

  // coordinator.cc
  Coordinator(const CoordinatorOptions& options, const Clock& clock, JobStore& store,
              Planner planner);
  absl::Status Replay();
  void Unsubscribe(const std::string& name, const std::shared_ptr<Watcher>& watcher);
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

  // coordinator_workers.cc
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

  // coordinator_schedule.cc
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
