// The families of jobs, with label job_id; docs/metrics.md has the list.
#pragma once

#include <cstdint>
#include <vector>

#include "coordinator/fleet_metrics.h"

namespace prometheus {
struct MetricFamily;
}

namespace birkhoff {

// What a job shows whatever its size; each sub-layer and each worker adds to it.
inline constexpr int64_t kSeriesOfAnyJob = 68;
inline constexpr int64_t kSeriesOfASublayer = 4;
inline constexpr int64_t kSeriesOfAWorker = 7;

// Which sub-layers and workers get series of their own so that a job has at most `most_series`.
struct ShownSeries {
  std::vector<int> sublayers;  // ascending, evenly spaced, the first and the last among them
  int workers = 0;             // those of the first ranks
  int64_t left_out = 0;
};
// Where not all fit, sub-layers get what workers leave, and half at least.  Needs most_series >=
// kSeriesOfAnyJob.
ShownSeries ChooseSeries(int sublayers, int workers, int64_t most_series);

void AddJobFamilies(const std::vector<JobMetrics>& jobs, int64_t most_series,
                    std::vector<prometheus::MetricFamily>* out);

}  // namespace birkhoff
