// The families of the fleet and of the coordinator itself; those of jobs are job_families.cc's.
#include "coordinator/metrics.h"

#include <prometheus/collectable.h>

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/job_families.h"
#include "core/base/guarded.h"
#include "core/net/metric_family.h"

namespace birkhoff {
namespace {

using Families = std::vector<prometheus::MetricFamily>;

void AddOne(MetricFamily family, double value, Families* out) {
  family.Add({}, value);
  family.MoveTo(out);
}

void AddFleet(const FleetMetrics& fleet, Families* out) {
  MetricFamily workers = MetricFamily::Gauge("birkhoff_workers", "Workers by state.");
  workers.Add({{"state", "IDLE"}}, fleet.workers_idle);
  workers.Add({{"state", "BUSY"}}, fleet.workers_busy);
  workers.Add({{"state", "LOST"}}, fleet.workers_lost);
  workers.MoveTo(out);
  AddOne(MetricFamily::Gauge("birkhoff_queue_length", "Jobs that wait for workers."),
         fleet.queue_length, out);
  if (fleet.waits_since != absl::InfiniteFuture()) {
    AddOne(MetricFamily::Gauge("birkhoff_queue_oldest_timestamp_seconds",
                               "Since when the job waits that waits longest, Unix time."),
           absl::ToDoubleSeconds(fleet.waits_since - absl::UnixEpoch()), out);
  }
}

void AddCoordinator(const FleetMetrics& fleet, const std::string& version, Families* out) {
  MetricFamily info = MetricFamily::Gauge("birkhoff_build_info", "1; the version, by label.");
  info.Add({{"version", version}}, 1.0);
  info.MoveTo(out);
  AddOne(MetricFamily::Gauge("birkhoff_store_refuses", "1 while the job store takes no events."),
         fleet.store_refuses ? 1.0 : 0.0, out);
  MetricFamily commits = MetricFamily::Histograms("birkhoff_store_commit_duration_seconds",
                                                  "How long the job store took per commit.");
  commits.Add({}, fleet.store_commit_seconds);
  commits.MoveTo(out);
  AddOne(MetricFamily::Counter("birkhoff_store_commit_failures_total",
                               "Commits that the job store refused."),
         static_cast<double>(fleet.store_refusals), out);
  AddOne(MetricFamily::Gauge("birkhoff_store_unwritten_events",
                             "Step reports that wait to be written in one go."),
         static_cast<double>(fleet.unwritten_events), out);
  MetricFamily held = MetricFamily::Histograms("birkhoff_lock_held_seconds",
                                               "How long the coordinator's lock was held.");
  held.Add({}, fleet.lock_held_seconds);
  held.MoveTo(out);
}

class CoordinatorMetrics final : public prometheus::Collectable {
 public:
  CoordinatorMetrics(const Coordinator& coordinator, MetricsOptions options)
      : coordinator_(coordinator), options_(std::move(options)) {}

  // A scrape that finds no memory is empty: an exception would end the server's thread.
  Families Collect() const override {
    return Guarded("metrics", [this] { return absl::StatusOr<Families>(All()); })
        .value_or(Families());
  }

 private:
  Families All() const {
    const FleetMetrics fleet = coordinator_.Metrics();
    Families families;
    AddJobFamilies(fleet.jobs, options_.series_per_job, &families);
    AddFleet(fleet, &families);
    AddCoordinator(fleet, options_.version, &families);
    return families;
  }

  const Coordinator& coordinator_;
  const MetricsOptions options_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> NewCoordinatorMetrics(const Coordinator& coordinator,
                                                               const MetricsOptions& options) {
  return std::make_shared<CoordinatorMetrics>(coordinator, options);
}

}  // namespace birkhoff
