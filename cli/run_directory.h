// Output directories as reports read them: of runs that are over, or still go on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/invocation.h"
#include "coordinator/page/run_series.h"
#include "core/base/disk.h"

namespace birkhoff {

// job.yaml, metrics.jsonl, matrices.json and trace.json of an output directory (docs/formats.md);
// what a run has not written yet is empty.  Without a label.  Errors: NOT_FOUND no output directory;
// INVALID_ARGUMENT its job.yaml is damaged; the disk's.
absl::StatusOr<RunSeries> ReadRunDirectory(Disk& disk, const std::string& directory);

// All of them, named and labelled apart.  A word that is no directory is a job of the service, and
// its output directory must lie on this machine.  INVALID_ARGUMENT: none.
absl::StatusOr<std::vector<RunSeries>> ReadRuns(Disk& disk, const std::vector<std::string>& words,
                                                const Invocation& invocation);

}  // namespace birkhoff
