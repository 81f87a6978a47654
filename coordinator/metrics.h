// The coordinator's Prometheus families, made from one snapshot at every scrape; docs/metrics.md
// has the list.  A job's series go a while after the job has ended, because the snapshot drops it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "coordinator/coordinator.h"

namespace prometheus {
class Collectable;
}

namespace birkhoff {

struct MetricsOptions {
  std::string version;
  // Of one job; those of single sub-layers and workers are left out beyond it.
  int64_t series_per_job = 1000;
  static constexpr int64_t kFewestSeriesPerJob = 100;
};

// `coordinator` must outlive the result.
std::shared_ptr<prometheus::Collectable> NewCoordinatorMetrics(const Coordinator& coordinator,
                                                               const MetricsOptions& options);

}  // namespace birkhoff
