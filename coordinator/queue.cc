// One scan from the best job down: a job takes workers or claims the devices that it may hope for,
// and what is claimed is closed to all behind it.
#include "coordinator/queue.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

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

}  // namespace

QueueScan::QueueScan(std::vector<QueueWorker> workers, bool growing)
    : workers_(std::move(workers)), growing_(growing) {
  for (const QueueWorker& worker : workers_) ++num_workers_[worker.device];
}

std::optional<Placement> QueueScan::Offer(const QueuedJob& job) {
  for (const std::string& device : DevicesFor(job.device)) {
    if (!job.ready || job.deferred || claims_.contains(device)) continue;
    if (std::optional<Placement> placement = PlaceOn(device, job, workers_)) return placement;
  }
  for (const std::string& device : DevicesFor(job.device)) {
    if (MayHope(device, job)) claims_.try_emplace(device, job.name);
  }
  return std::nullopt;
}

// Whether it is worth waiting for workers of this device.
bool QueueScan::MayHope(const std::string& device, const QueuedJob& job) const {
  if (job.deferred) return false;
  if (growing_ && !job.no_room.contains(device)) return true;
  const auto suit = [&](const QueueWorker& worker) { return Suits(worker, job, device); };
  return std::ranges::count_if(workers_, suit) >= job.num_workers;
}

bool QueueScan::Hopeless(DeviceKind device, int num_workers) const {
  return std::ranges::all_of(DevicesFor(device), [&](const std::string& name) {
    if (claims_.contains(name)) return true;
    const auto found = num_workers_.find(name);
    return !growing_ && (found == num_workers_.end() ? 0 : found->second) < num_workers;
  });
}

std::string WaitingSentence(const QueuedJob& job, const std::map<std::string, Supply>& supplies) {
  std::string text =
      absl::StrCat("waits for ", job.num_workers, " idle worker", job.num_workers == 1 ? "" : "s");
  const std::vector<std::string> devices = DevicesFor(job.device);
  if (devices.size() == 1) absl::StrAppend(&text, " with device ", devices[0]);
  int most = 0, most_idle = 0;
  std::vector<std::string> there;
  std::set<std::string> works_for, ahead;
  bool free = false;  // a device that nobody goes first on
  for (const std::string& device : devices) {
    const auto found = supplies.find(device);
    if (found == supplies.end()) continue;
    const Supply& supply = found->second;
    most = std::max(most, supply.there);
    most_idle = std::max(most_idle, supply.idle);
    if (supply.there == 0) continue;
    there.push_back(
        absl::StrCat(supply.there, " with device ", device, ", ", supply.idle, " of them idle"));
    works_for.insert(supply.works_for.begin(), supply.works_for.end());
    const bool first = supply.claimed_by.empty() || supply.claimed_by == job.name;
    first ? void(free = true) : void(ahead.insert(supply.claimed_by));
  }
  absl::StrAppend(&text, "; there ", most == 1 ? "is " : "are ",
                  there.empty() ? "none" : absl::StrJoin(there, " and "));
  if (most < job.num_workers) {
    absl::StrAppend(&text, ": ", job.num_workers - most, " more must come");
  } else if (!free && !ahead.empty()) {
    absl::StrAppend(&text, ": ", absl::StrJoin(ahead, " and "), " goes first");
  } else if (most_idle < job.num_workers && !works_for.empty()) {
    absl::StrAppend(&text, ": the others work for ", absl::StrJoin(works_for, ", "));
  }
  return text;
}

std::optional<Placement> NextPlacement(std::vector<QueuedJob> jobs,
                                       const std::vector<QueueWorker>& workers, bool growing) {
  std::ranges::sort(jobs, {},
                    [](const QueuedJob& job) { return std::tuple(-job.priority, job.sequence); });
  QueueScan scan(workers, growing);
  for (const QueuedJob& job : jobs) {
    if (std::optional<Placement> placement = scan.Offer(job)) return placement;
  }
  return std::nullopt;
}

}  // namespace birkhoff
