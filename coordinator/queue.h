// Which job gets workers next.  Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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

// What the jobs that wait may know of one device.
struct Supply {
  int there = 0;  // workers that live
  int idle = 0;
  std::vector<std::string> works_for;  // jobs that have the others, a few of them
  std::string claimed_by;              // the waiting job that goes first; empty: none
};

// Looks at the waiting jobs one by one, best first, until one gets workers.  A job that lacks
// workers claims the devices that it may run on: jobs behind it never overtake it there, so that a
// large job is not starved by small ones, and a job that waits for a GPU does not hold up those
// that need a CPU.  It claims a device only where there are enough workers that it was not found
// too large for, idle or not: else it would hold up everybody for nothing.  Workers are taken in
// the order given; all of a job have one device, cuda before cpu where the job leaves it open.
class QueueScan {
 public:
  // `growing`: more workers are about to come than there are, as after a start: a job claims
  // devices also where they are too few.
  explicit QueueScan(std::vector<QueueWorker> workers, bool growing = false);
  // The job's workers, or nothing.
  std::optional<Placement> Offer(const QueuedJob& job);
  // Whether jobs that need so many workers and may run on these devices only have nothing to hope
  // for, and hold up nobody.
  bool Hopeless(DeviceKind device, int num_workers) const;
  // The jobs that wait for a device and go first there.
  const std::map<std::string, std::string>& claims() const { return claims_; }

 private:
  bool MayHope(const std::string& device, const QueuedJob& job) const;

  std::vector<QueueWorker> workers_;
  const bool growing_;
  std::map<std::string, int> num_workers_;     // by device
  std::map<std::string, std::string> claims_;  // by device
};

// Why a job waits for workers, in one sentence.  `supplies`: by device.
std::string WaitingSentence(const QueuedJob& job, const std::map<std::string, Supply>& supplies);

// The first job of the queue that gets workers, or nothing.
std::optional<Placement> NextPlacement(std::vector<QueuedJob> jobs,
                                       const std::vector<QueueWorker>& workers,
                                       bool growing = false);

}  // namespace birkhoff
