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
  // Opens DIRECTORY/metrics.jsonl to go on after `step`.  It is a new file with the rows of the old
  // one up to there (RowsUpTo), put in its place by rename, so that a crash here loses nothing: an
  // attempt that was given up and does not know it yet goes on writing into the old file, which
  // nobody reads any more.
  static absl::StatusOr<std::unique_ptr<MetricsFile>> Open(Disk& disk, const std::string& directory,
                                                           int64_t step);
  // The row is in the file when this returns; with `durable`, also after a loss of power.  A row
  // must be durable before the checkpoint of its step is committed.
  absl::Status Append(const StepReport& report, bool durable);
  // Whether there is still a file of that name; rows go into nothing where there is none.
  bool IsThere() const { return disk_.Exists(path_); }

 private:
  MetricsFile(Disk& disk, std::string path, std::unique_ptr<WritableFile> file)
      : disk_(disk), path_(std::move(path)), file_(std::move(file)) {}
  Disk& disk_;
  const std::string path_;
  const std::unique_ptr<WritableFile> file_;
};

// The rows of `text` up to `step`, each step once, in ascending order.  What is no whole row is
// skipped, and cuts nothing; of several rows of one step the last counts.
std::string RowsUpTo(const std::string& text, int64_t step);

}  // namespace birkhoff
