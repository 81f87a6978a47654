// The runs of a comparison on this machine: as many at once as the workers allow, each in an
// output directory of its own, so that what was stopped or killed goes on where it was.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/console.h"
#include "cli/local_service.h"
#include "cli/output_directory.h"
#include "core/base/clock.h"
#include "core/base/disk.h"
#include "core/base/shutdown_signals.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

struct ComparedRun {
  std::string name;       // for people
  std::string directory;  // absolute
  JobSpec spec;           // sound, with absolute paths; its checkpoints are in `directory`
  // Where it stands.
  bool over = false;
  JobState state = JobState::kQueued;
  JobReason reason;
  ExitCode exit_code = ExitCode::kDone;
};

class ComparisonRun {
 public:
  struct Options {
    std::string worker_program;
    std::string directory;  // absolute; logs of the workers
    int num_workers = 2;    // at least as many as any run needs
    int threads = 0;        // of each on a CPU; 0: the machine's cores over them
    bool fresh = false;     // forget what the directories hold
  };
  // All must outlive it.
  ComparisonRun(const Options& options, const Clock& clock, Disk& disk, ShutdownSignals& signals,
                const Console& console);

  // Trains every run to its end; one that was finished before is left alone.  The first signal asks
  // all for a checkpoint and an end, the second kills.  A run that fails does not stop the others.
  // Errors: what kept the comparison from being run: a directory in use or of another spec, no
  // workers, CANCELLED by the second signal.
  absl::Status Run(std::vector<ComparedRun>* runs);

 private:
  absl::Status Open(std::vector<ComparedRun>* runs);
  absl::Status Submit(const ComparedRun& run);
  absl::Status Watch(std::vector<ComparedRun>* runs);
  // Returns the number of the latest event.
  absl::StatusOr<int64_t> Look(ComparedRun* run);
  absl::Status HandleSignals(const std::vector<ComparedRun>& runs);
  void Show(const std::vector<ComparedRun>& runs);
  void Say(const std::string& line);

  const Options options_;
  const Clock& clock_;
  Disk& disk_;
  ShutdownSignals& signals_;
  const Console& console_;
  std::vector<std::unique_ptr<OutputDirectory>> directories_;  // locked as long as it lives
  std::unique_ptr<LocalService> service_;
  std::map<std::string, StepReport> last_steps_;  // by name
  std::string shown_;                             // the live line
  bool stopping_ = false;
};

}  // namespace birkhoff
