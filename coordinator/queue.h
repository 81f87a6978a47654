// Which job gets workers next.  Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
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
};

struct IdleWorker {
  std::string name;
  std::string device;  // "cpu" | "cuda"
};

struct Placement {
  std::string job;
  std::vector<std::string> workers;  // by rank
};

// The first job of the queue that gets workers, or nothing.  A job that lacks workers claims the
// devices that it may run on: jobs behind it never overtake it there, so that a large job is not
// starved by small ones, and a job that waits for a GPU does not hold up those that need a CPU.
// Workers are taken in the order given; all of a job have one device, cuda before cpu where the job
// leaves it open.
std::optional<Placement> NextPlacement(std::vector<QueuedJob> jobs,
                                       const std::vector<IdleWorker>& idle);

}  // namespace birkhoff
