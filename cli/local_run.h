// One job on this machine: an embedded coordinator, local workers, and somebody who watches.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/local_service.h"
#include "cli/progress_view.h"
#include "core/base/clock.h"
#include "core/base/shutdown_signals.h"
#include "core/spec/job_spec.h"

namespace birkhoff {

class LocalRun {
 public:
  struct Options {
    JobSpec spec;                  // sound, with absolute paths
    std::string output_directory;  // absolute; exists and is ours
    std::string worker_program;    // path of birkhoff-worker
    int threads = 0;               // of each worker; 0: the machine's cores over its workers
    bool graphs = true;            // of each worker, as LocalWorkers::Options; the next too
    std::string card;
    bool fresh = false;
    std::vector<std::string> changes;  // as in SubmitRequest
    std::string init_from;             // likewise; absolute
    std::string page_listen;           // as DaemonOptions::page_listen
  };
  // `clock`, `signals` and `view` must outlive it.
  LocalRun(const Options& options, const Clock& clock, ShutdownSignals& signals,
           ProgressView& view);

  // Trains to the end of the job; the first signal asks for a checkpoint and an end, the second
  // kills.  Returns the job as it ended.  Call from the thread that lives longest: the workers die
  // with it.  Errors: what kept the job from being run at all.
  absl::StatusOr<JobView> Run();

 private:
  absl::Status StartAll();
  absl::StatusOr<JobView> Watch();
  void Show(const JobUpdate& update);
  absl::Status HandleSignals();

  const Options options_;
  const Clock& clock_;
  ShutdownSignals& signals_;
  ProgressView& view_;
  std::unique_ptr<LocalService> service_;
  std::string job_;
  bool stopping_ = false;
};

}  // namespace birkhoff
