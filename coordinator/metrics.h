// The coordinator's Prometheus families, made from one snapshot at every scrape; docs/metrics.md
// has the list.  A job's series go a while after the job has ended, because the snapshot drops it.
#pragma once

#include <memory>

#include "coordinator/coordinator.h"

namespace prometheus {
class Collectable;
}

namespace birkhoff {

// `coordinator` must outlive the result.
std::shared_ptr<prometheus::Collectable> NewCoordinatorMetrics(const Coordinator& coordinator);

}  // namespace birkhoff
