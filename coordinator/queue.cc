#include "coordinator/queue.h"

#include <algorithm>
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

}  // namespace

std::optional<Placement> NextPlacement(const std::vector<QueuedJob>& jobs,
                                       const std::vector<IdleWorker>& idle) {
  const auto order = [](const QueuedJob& job) { return std::tuple(-job.priority, job.sequence); };
  const auto head = std::ranges::min_element(jobs, {}, order);
  if (head == jobs.end() || !head->ready) return std::nullopt;
  for (const std::string& device : DevicesFor(head->device)) {
    Placement placement{head->name, {}};
    for (const IdleWorker& worker : idle) {
      if (static_cast<int>(placement.workers.size()) == head->num_workers) break;
      if (worker.device == device) placement.workers.push_back(worker.name);
    }
    if (static_cast<int>(placement.workers.size()) == head->num_workers) return placement;
  }
  return std::nullopt;
}

}  // namespace birkhoff
