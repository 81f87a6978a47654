// A coordinator and its workers on this machine, for verbs that need no daemon: both end with it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/local_workers.h"
#include "coordinator/daemon.h"
#include "core/base/clock.h"

namespace birkhoff {

class LocalService {
 public:
  struct Options {
    std::string worker_program;             // path of birkhoff-worker
    std::string log_directory;              // made where it is missing; one file per worker
    DeviceKind device = DeviceKind::kAuto;  // as NeededDevice says
    int num_workers = 1;
    int threads = 0;     // of each worker on a CPU; 0: the machine's cores over them
    bool graphs = true;  // of each worker, as LocalWorkers::Options; the next too
    std::string card = "";
    std::string page_listen = "";  // as DaemonOptions::page_listen
  };
  // Ports are ephemeral on loopback, and nothing is stored: checkpoints hold what must last.  Call
  // from the thread that lives longest: the workers die with it.  `clock` must outlive it.
  static absl::StatusOr<std::unique_ptr<LocalService>> Start(const Options& options,
                                                             const Clock& clock);
  Coordinator& coordinator() { return daemon_->coordinator(); }
  LocalWorkers& workers() { return *workers_; }
  std::string page_address() const { return daemon_->page_address(); }
  std::string metrics_address() const { return daemon_->metrics_address(); }

  // Workers are asked to end where `clean`, and killed after a grace; without Stop they are killed.
  void Stop(bool clean);

 private:
  LocalService() = default;

  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<LocalWorkers> workers_;
};

}  // namespace birkhoff
