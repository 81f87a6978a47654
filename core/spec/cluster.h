// What workers there are, as far as planning needs to know.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace birkhoff {

struct WorkerResources {
  std::string name;            // "workers/host-0"
  std::string device = "cpu";  // cpu | cuda
  int64_t memory_bytes = 0;    // 0: unknown, no limit is checked
  double peak_flops = 0.0;     // 0: unknown, MFU is null
};

struct ClusterSpec {
  std::vector<WorkerResources> workers;
  double flops_per_second = 2.0e10;  // modelled cost until something is measured; CPU default
  double link_bytes_per_second = 1.0e9;
  double link_latency_seconds = 50.0e-6;
};

}  // namespace birkhoff
