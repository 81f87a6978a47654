#include "coordinator/queue.h"

#include <algorithm>
#include <set>
#include <tuple>

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

// The job's workers of one of these devices, or nothing where they do not suffice.
std::optional<Placement> PlaceOn(const std::vector<std::string>& devices, const QueuedJob& job,
                                 const std::vector<IdleWorker>& idle) {
  for (const std::string& device : devices) {
    Placement placement{job.name, {}};
    for (const IdleWorker& worker : idle) {
      if (static_cast<int>(placement.workers.size()) == job.num_workers) break;
      if (worker.device == device) placement.workers.push_back(worker.name);
    }
    if (static_cast<int>(placement.workers.size()) == job.num_workers) return placement;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Placement> NextPlacement(std::vector<QueuedJob> jobs,
                                       const std::vector<IdleWorker>& idle) {
  std::ranges::sort(jobs, {},
                    [](const QueuedJob& job) { return std::tuple(-job.priority, job.sequence); });
  std::set<std::string> claimed;  // devices that a job further ahead waits for
  for (const QueuedJob& job : jobs) {
    std::vector<std::string> devices = DevicesFor(job.device);
    std::erase_if(devices, [&](const std::string& device) { return claimed.contains(device); });
    if (job.ready) {
      if (std::optional<Placement> placement = PlaceOn(devices, job, idle)) return placement;
    }
    claimed.insert(devices.begin(), devices.end());
  }
  return std::nullopt;
}

}  // namespace birkhoff
