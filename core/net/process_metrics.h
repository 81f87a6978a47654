// The process families that every Prometheus client library shows (process_cpu_seconds_total, ...),
// read from /proc/self at every scrape.
#pragma once

#include <memory>

namespace prometheus {
class Collectable;
}

namespace birkhoff {

std::shared_ptr<prometheus::Collectable> NewProcessMetrics();

}  // namespace birkhoff
