// What the coordinator keeps of one job.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/coordinator.h"
#include "coordinator/job.h"
#include "coordinator/job_meter.h"
#include "coordinator/job_store.h"
#include "coordinator/progress_watch.h"
#include "core/plan/plan.h"

namespace birkhoff {

// What somebody subscribed to; the lock keeps `wake` alive while it runs.
struct Watcher {
  absl::Mutex mutex;
  std::function<void()> wake ABSL_GUARDED_BY(mutex);
};

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

}  // namespace birkhoff
