// ROOT/.owner: which job writes checkpoints into ROOT.  One line of JSON, and a lock (flock) that
// lives as long as the process that holds it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/disk.h"

namespace birkhoff {

// Who writes: jobs of two coordinators may have one name, but not one output directory.
struct RootClaim {
  std::string job;
  std::string output_directory;
  int attempt = 0;  // fencing epoch; 0: nobody's yet
};

// Holds ROOT until it goes.  Check may be called from any thread.
class RootOwner {
 public:
  // Creates ROOT where it is missing.  A later attempt of the same job takes it over, also from one
  // that still lives: it is fenced by Check.  Where nobody lives, everybody may take it.
  // Errors: FAILED_PRECONDITION another job, or a later attempt, lives in it: who, and the remedy.
  static absl::StatusOr<std::unique_ptr<RootOwner>> Take(Disk& disk, const std::string& root,
                                                         const RootClaim& claim);
  // Before anything there gets its final name.  ABORTED: somebody else has taken it meanwhile;
  // UNAVAILABLE: ROOT, or the word in it, was removed.
  absl::Status Check() const;
  // Makes ROOT and the word anew where Check says that they were removed; ABORTED where it says
  // that somebody else is there.  Not beside itself; beside Check.
  absl::Status Restore();

 private:
  RootOwner(Disk& disk, std::string root, std::string text);
  absl::Status Write();

  Disk& disk_;
  const std::string root_;
  const std::string path_;
  const std::string text_;  // what stands there while it is ours
  std::unique_ptr<FileLock> lock_;
};

}  // namespace birkhoff
