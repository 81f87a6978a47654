// Which job gets workers next.  Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/spec/job_spec.h"

namespace birkhoff {

struct QueuedJob {
  std::string name;
  int priority = 0;      // larger goes first
  int64_t sequence = 0;  // order of creation; within a priority the smaller goes first
  int num_workers = 1;
  bool ready = true;  // false: it waits for its last attempt to end, and keeps its place meanwhile
  DeviceKind device = DeviceKind::kAuto;
  // By device: workers of so many bytes were found too small, and those with less are too.
  std::map<std::string, int64_t> no_room = {};
  bool deferred = false;   // a plan has failed just now: not ready, and nobody waits for it
  std::string avoid = {};  // a worker that is taken only where the others do not suffice
};

struct QueueWorker {
  std::string name;
  std::string device;        // "cpu" | "cuda"
  int64_t memory_bytes = 0;  // 0: unknown, taken as enough
  bool idle = true;
};

struct Placement {
  std::string job;
  std::vector<std::string> workers;  // by rank
};

// Looks at the waiting jobs one by one, best first, until one gets workers.  A job that lacks
// workers claims the devices that it may run on: jobs behind it never overtake it there, so that a
// large job is not starved by small ones, and a job that waits for a GPU does not hold up those
// that need a CPU.  A job that was found too large for some workers claims a device only where
// there are enough others, idle or not: else it would hold up everybody for nothing. Workers are
// taken in the order given; all of a job have one device, cuda before cpu where the job leaves it
// open.
class QueueScan {
 public:
  explicit QueueScan(std::vector<QueueWorker> workers) : workers_(std::move(workers)) {}
  // The job's workers, or nothing.
  std::optional<Placement> Offer(const QueuedJob& job);
  // Whether a job that may run on these devices only has nothing to hope for any more.
  bool Claimed(DeviceKind device) const;

 private:
  std::vector<QueueWorker> workers_;
  std::set<std::string> claimed_;  // devices that a job further ahead waits for
};

// The first job of the queue that gets workers, or nothing.
std::optional<Placement> NextPlacement(std::vector<QueuedJob> jobs,
                                       const std::vector<QueueWorker>& workers);

}  // namespace birkhoff
