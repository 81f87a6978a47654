// metrics.jsonl: one row per step, each step once, also after kills and resumes.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"
#include "core/spec/step_report.h"

namespace birkhoff {

// Not thread-safe.
class MetricsFile {
 public:
  // Opens DIRECTORY/metrics.jsonl to go on after `step`: rows of later steps, and a last row that a
  // kill has cut, are removed first (by rename, so that a crash here loses nothing).
  static absl::StatusOr<std::unique_ptr<MetricsFile>> Open(Disk& disk, const std::string& directory,
                                                           int64_t step);
  // The row is in the file when this returns; with `durable`, also after a loss of power.  A row
  // must be durable before the checkpoint of its step is committed.
  absl::Status Append(const StepReport& report, bool durable);

 private:
  explicit MetricsFile(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
  const std::unique_ptr<WritableFile> file_;
};

// The rows of `text` up to `step`: whole lines, in ascending order of their steps.
std::string RowsUpTo(const std::string& text, int64_t step);

}  // namespace birkhoff
