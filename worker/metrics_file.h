// metrics.jsonl: one row per step, each step once, also after kills and resumes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/disk.h"
#include "core/protocol/step_report.h"

namespace birkhoff {

// Thread-safe.
class MetricsFile {
 public:
  // Opens DIRECTORY/metrics.jsonl to go on after `step`.  It is a new file with the rows of the old
  // one up to there (RowsUpTo), put in its place by rename, so that a crash here loses nothing: an
  // attempt that was given up and does not know it yet goes on writing into the old file, which
  // nobody reads any more.  `may_replace` is asked before that.
  static absl::StatusOr<std::unique_ptr<MetricsFile>> Open(
      Disk& disk, const std::string& directory, int64_t step,
      std::function<absl::Status()> may_replace = nullptr);
  // `time` is when the step was reported.  The row is in the file when this returns, or waits where a disk has refused it, and is tried
  // again at every call: a full disk ends no training.  Errors: those that do not pass by waiting;
  // the disk's, once 64 MiB of rows wait.
  absl::Status Append(const StepReport& report, absl::Time time);
  // All rows are in the file, also after a loss of power.
  absl::Status Flush();
  // Whether somebody has removed the file; then the next row makes it anew.
  bool Removed();

 private:
  MetricsFile(Disk& disk, std::string directory, int64_t step,
              std::function<absl::Status()> may_replace);
  absl::Status Reopen() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Disk& disk_;
  const std::string directory_;
  const std::function<absl::Status()> may_replace_;
  absl::Mutex mutex_;
  // Null after an error: what was written then may be half a row.
  std::unique_ptr<WritableFile> file_ ABSL_GUARDED_BY(mutex_);
  int64_t written_step_ ABSL_GUARDED_BY(mutex_);   // the file has the rows up to there
  int64_t appended_step_ ABSL_GUARDED_BY(mutex_);  // `waiting_` has those up to there
  std::string waiting_ ABSL_GUARDED_BY(mutex_);
};

// The rows of `text` up to `step`, each step once, in ascending order.  What is no whole row is
// skipped, and cuts nothing; of several rows of one step the last counts.
std::string RowsUpTo(const std::string& text, int64_t step);

}  // namespace birkhoff
