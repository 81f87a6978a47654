#include "coordinator/queue.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace birkhoff {
namespace {

std::vector<std::string> DevicesFor(DeviceKind device) {
  switch (device) {
    case DeviceKind::kCpu:
      return {"cpu"};
    case DeviceKind::kCuda:
      return {"cuda"};
    case DeviceKind::kAuto:
      break;
  }
  return {"cuda", "cpu"};
}

// Whether the worker might do for the job, were it idle.
bool Suits(const QueueWorker& worker, const QueuedJob& job, const std::string& device) {
  if (worker.device != device) return false;
  const auto found = job.no_room.find(device);
  return found == job.no_room.end() || worker.memory_bytes == 0 ||
         worker.memory_bytes > found->second;
}

// The job's workers of this device, or nothing where they do not suffice.
std::optional<Placement> PlaceOn(const std::string& device, const QueuedJob& job,
                                 const std::vector<QueueWorker>& workers) {
  Placement placement{job.name, {}};
  for (const bool avoided : {false, true}) {
    for (const QueueWorker& worker : workers) {
      if (static_cast<int>(placement.workers.size()) == job.num_workers) break;
      const bool turn = (worker.name == job.avoid) == avoided;
      if (turn && worker.idle && Suits(worker, job, device)) {
        placement.workers.push_back(worker.name);
      }
    }
  }
  if (static_cast<int>(placement.workers.size()) < job.num_workers) return std::nullopt;
  return placement;
}

// Whether it is worth waiting for workers of this device.
bool MayHope(const std::string& device, const QueuedJob& job,
             const std::vector<QueueWorker>& workers) {
  if (job.deferred) return false;
  if (!job.no_room.contains(device)) return true;  // more workers may come
  const auto suit = [&](const QueueWorker& worker) { return Suits(worker, job, device); };
  return std::ranges::count_if(workers, suit) >= job.num_workers;
}

}  // namespace

std::optional<Placement> QueueScan::Offer(const QueuedJob& job) {
  for (const std::string& device : DevicesFor(job.device)) {
    if (!job.ready || job.deferred || claimed_.contains(device)) continue;
    if (std::optional<Placement> placement = PlaceOn(device, job, workers_)) return placement;
  }
  for (const std::string& device : DevicesFor(job.device)) {
    if (!claimed_.contains(device) && MayHope(device, job, workers_)) claimed_.insert(device);
  }
  return std::nullopt;
}

bool QueueScan::Claimed(DeviceKind device) const {
  return std::ranges::all_of(DevicesFor(device),
                             [&](const std::string& name) { return claimed_.contains(name); });
}

std::optional<Placement> NextPlacement(std::vector<QueuedJob> jobs,
                                       const std::vector<QueueWorker>& workers) {
  std::ranges::sort(jobs, {},
                    [](const QueuedJob& job) { return std::tuple(-job.priority, job.sequence); });
  QueueScan scan(workers);
  for (const QueuedJob& job : jobs) {
    if (std::optional<Placement> placement = scan.Offer(job)) return placement;
  }
  return std::nullopt;
}

}  // namespace birkhoff
